package container_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/containertest"
)

// BenchmarkStart is a start up to execve: cgroup, overlay, all namespaces,
// seccomp; a new network namespace of its own, without an interface.
func BenchmarkStart(b *testing.B) {
	n := containertest.NewNode(b, "", "")
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		spec := n.Spec("exit", "0")
		b.StartTimer()
		began := time.Now()
		n.Start(spec)
		took = append(took, time.Since(began))
		b.StopTimer()
		n.WaitFor(spec.ID)
		if err := n.Delete(b.Context(), spec.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
}

// BenchmarkThousand starts a thousand containers at once and ends them. It tells
// what this process and the keeper hold while they run.
func BenchmarkThousand(b *testing.B) {
	for b.Loop() {
		thousand(b)
	}
}

func thousand(b *testing.B) {
	n := containertest.NewNode(b, "", "")
	var specs []container.Spec
	for range 1000 {
		specs = append(specs, n.Spec("sleep"))
	}
	began := time.Now()
	var starts sync.WaitGroup
	for _, spec := range specs {
		starts.Go(func() {
			if _, err := n.Runtime.Start(b.Context(), spec); err != nil {
				b.Errorf("Start: %v", err)
			}
		})
	}
	starts.Wait()
	b.ReportMetric(time.Since(began).Seconds(), "start-s")
	b.ReportMetric(resident(b, os.Getpid()), "daemon-MB")
	b.ReportMetric(resident(b, n.KeeperPID()), "keeper-MB")
	began = time.Now()
	if err := n.Down(b.Context()); err != nil {
		b.Error(err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "down-s")
	n.Connect()
}

// resident is a process's memory in MB.
func resident(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kb) / 1024
}
