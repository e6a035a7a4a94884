package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// apps measures what stands between users and their apps.
func (b *bench) apps(ctx context.Context) error {
	for _, measured := range []func(context.Context) error{b.gateway, b.appCloud} {
		if err := measured(ctx); err != nil {
			return err
		}
	}
	return nil
}

// gateway measures the gateway alone against other proxies.
func (b *bench) gateway(ctx context.Context) (err error) {
	if !b.wants("gateway-throughput", "gateway-cpu", "gateway-latency", "gateway-idle", "gateway-held", "gateway-routes", "gateway-upgrade") {
		return nil
	}
	b.say("building and starting the proxies")
	w, err := peer.NewWeb(ctx, b.source, b.dir, 30)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, measured := range []func(context.Context, *peer.Web) error{b.throughput, b.latency, b.idleConnections, b.held, b.routeChanges, b.upgrades} {
		if err := measured(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// proxy is a contestant, or why there is none.
type proxy struct {
	who, note string
	*peer.Proxy
	absent error
}

// proxies starts ours and its peers. Close each that is there.
func (b *bench) proxies(ctx context.Context, w *peer.Web) []proxy {
	starts := []struct {
		who   string
		start func(context.Context) (*peer.Proxy, error)
	}{
		{"sampan", func(ctx context.Context) (*peer.Proxy, error) { return w.Sampan(ctx, 1) }},
		{"nginx", w.Nginx}, {"haproxy", w.HAProxy}, {"caddy", w.Caddy},
	}
	versions := map[string]string{"nginx": "-v", "haproxy": "-v", "caddy": "version"}
	all := make([]proxy, len(starts))
	for i, s := range starts {
		all[i].who = s.who
		all[i].Proxy, all[i].absent = s.start(ctx)
		if flag := versions[s.who]; flag != "" && all[i].absent == nil {
			b.report.Machine.Version(s.who, all[i].Program, flag)
		}
	}
	return all
}

func closeProxies(all []proxy) {
	for _, p := range all {
		if p.absent == nil {
			p.Close()
		}
	}
}

// contestants let all take turns at doing a thing.
func contestants(all []proxy, do func(ctx context.Context, p *peer.Proxy, i int) (float64, error)) []measure.Contestant {
	var out []measure.Contestant
	for i, p := range all {
		out = append(out, measure.Contestant{Who: p.who, Note: p.note, Once: func(ctx context.Context) (float64, error) {
			if p.absent != nil {
				return 0, p.absent
			}
			return do(ctx, p.Proxy, i)
		}})
	}
	return out
}

// throughput asks as fast as it is answered. The processor time of the same runs
// is the other figure: it says the same when the machine has other work.
func (b *bench) throughput(ctx context.Context, w *peer.Web) error {
	const connections, length = 64, 3 * time.Second
	fast, cpu := b.figure("gateway-throughput"), b.figure("gateway-cpu")
	if !b.wants(fast.Name, cpu.Name) {
		return nil
	}
	all := b.proxies(ctx, w)
	defer closeProxies(all)
	b.say("%s", fast.What)
	spent := make([][]float64, len(all))
	fast.Rows = measure.Race(ctx, max(3, b.rounds/2), time.Minute, contestants(all, func(ctx context.Context, p *peer.Proxy, i int) (float64, error) {
		before, err := p.ProcessorTime()
		if err != nil {
			return 0, err
		}
		n, took, err := w.Throughput(ctx, p.Addr, connections, length)
		if err != nil {
			return 0, err
		}
		after, err := p.ProcessorTime()
		spent[i] = append(spent[i], float64((after-before).Microseconds())/n)
		return n / took.Seconds(), err
	})...)
	cpu.Rows = append([]measure.Row{}, fast.Rows...)
	for i := range cpu.Rows {
		// As in the race: the first round does not count.
		cpu.Rows[i].Values = spent[i][min(1, len(spent[i])):]
	}
	return errors.Join(b.show(fast), b.show(cpu))
}

// latency is what a proxy adds to the slowest of a hundred requests, at a rate
// that none has trouble with.
func (b *bench) latency(ctx context.Context, w *peer.Web) error {
	const rate, connections, length = 2000, 64, 3 * time.Second
	f := b.figure("gateway-latency")
	if !b.wants(f.Name) {
		return nil
	}
	all := b.proxies(ctx, w)
	defer closeProxies(all)
	b.say("%s", f.What)
	f.Rows = measure.Race(ctx, max(3, b.rounds/4), time.Minute, contestants(all, func(ctx context.Context, p *peer.Proxy, _ int) (float64, error) {
		direct, err := w.Paced(ctx, w.Backend(), rate, connections, length)
		if err != nil {
			return 0, err
		}
		through, err := w.Paced(ctx, p.Addr, rate, connections, length)
		return max(0, through.P99-direct.P99), err
	})...)
	return b.show(f)
}

// routeChanges makes routes while others are used: none of their requests may
// fail.
func (b *bench) routeChanges(ctx context.Context, w *peer.Web) (err error) {
	f := b.figure("gateway-routes")
	if !b.wants(f.Name) {
		return nil
	}
	b.say("%s", f.What)
	p, err := w.Sampan(ctx, 5000)
	if err != nil {
		return err
	}
	defer p.Close()
	stop := underLoad(ctx, w, p.Addr)
	n := 0
	f.Rows = measure.Race(ctx, b.rounds, 10*time.Second, measure.Contestant{Who: "sampan", Note: "under load", Once: func(ctx context.Context) (float64, error) {
		n++
		took, err := p.AddRoute(ctx, fmt.Sprintf("new-%d", n))
		return measure.Milliseconds(took), err
	}})
	stop(&f.Rows[0])
	return b.show(f)
}

// upgrades puts one gateway in the place of another, under load. The value is how
// long both are there.
func (b *bench) upgrades(ctx context.Context, w *peer.Web) error {
	f := b.figure("gateway-upgrade")
	if !b.wants(f.Name) {
		return nil
	}
	b.say("%s", f.What)
	p, err := w.Sampan(ctx, 1)
	if err != nil {
		return err
	}
	defer func() { p.Close() }()
	stop := underLoad(ctx, w, p.Addr)
	f.Rows = measure.Race(ctx, 3, time.Minute, measure.Contestant{Who: "sampan", Note: "under load", Once: func(ctx context.Context) (float64, error) {
		began := time.Now()
		next, err := p.Replace(ctx)
		if err == nil {
			p = next
		}
		return time.Since(began).Seconds(), err
	}})
	stop(&f.Rows[0])
	return b.show(f)
}

// underLoad asks for addr until it is stopped. A request that fails meanwhile
// makes a row worthless.
func underLoad(ctx context.Context, w *peer.Web, addr string) (stop func(*measure.Row)) {
	ctx, cancel := context.WithCancel(ctx)
	var failed error
	var loading sync.WaitGroup
	loading.Go(func() {
		for ctx.Err() == nil && failed == nil {
			if _, _, err := w.Throughput(ctx, addr, 16, time.Second); ctx.Err() == nil {
				failed = err
			}
		}
	})
	return func(row *measure.Row) {
		cancel()
		loading.Wait()
		if failed != nil {
			row.Err, row.Values = fmt.Sprintf("requests meanwhile: %v", failed), nil
		}
	}
}
