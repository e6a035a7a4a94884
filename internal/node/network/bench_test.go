package network

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkAttach measures what a pod waits for: with a pool that has one
// ready, and without.
func BenchmarkAttach(b *testing.B) {
	for name, pool := range map[string]int{"from the pool": 64, "without": 0} {
		b.Run(name, func(b *testing.B) {
			newMachine(b)
			cfg := testConfig(b)
			cfg.Pool = pool
			n := open(b, cfg)
			start(b, n)
			var took []time.Duration
			b.ResetTimer()
			for i := range b.N {
				b.StopTimer()
				eventually(b, func() error {
					if len(n.ready) < pool {
						return fmt.Errorf("%d of %d ready", len(n.ready), pool)
					}
					return nil
				})
				b.StartTimer()
				began := time.Now()
				id := fmt.Sprint(i)
				attach(b, n, id)
				took = append(took, time.Since(began))
				b.StopTimer()
				must(b, n.Detach(b.Context(), id))
				b.StartTimer()
			}
			report(b, took)
		})
	}
}

// BenchmarkBurst attaches a thousand pods at once and removes them.
func BenchmarkBurst(b *testing.B) {
	const pods = 1000
	newMachine(b)
	cfg := testConfig(b)
	cfg.Pool = 16
	n := open(b, cfg)
	start(b, n)
	var up, down time.Duration
	for range b.N {
		began := time.Now()
		errs := make(chan error, pods)
		for i := range pods {
			go func() {
				_, err := n.Attach(context.Background(), Pod{ID: fmt.Sprint(i)})
				errs <- err
			}()
		}
		for range pods {
			must(b, <-errs)
		}
		up += time.Since(began)
		began = time.Now()
		must(b, n.Sweep(b.Context(), nil))
		eventually(b, func() error {
			if used := n.addrs.inUse(); used > cfg.Pool+parallel {
				return fmt.Errorf("%d addresses in use", used)
			}
			return nil
		})
		down += time.Since(began)
	}
	b.ReportMetric(up.Seconds()/float64(b.N), "s-attach")
	b.ReportMetric(down.Seconds()/float64(b.N), "s-removed")
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}
