package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// perProcess is how many idle connections one process holds: about what 20,000
// descriptors allow, which is what many machines do.
const perProcess = 18_000

// idleConnections is what a connection costs that is kept and not used.
func (b *bench) idleConnections(ctx context.Context, w *peer.Web) error {
	f := b.figure("gateway-idle")
	if !b.wants(f.Name) {
		return nil
	}
	all := b.proxies(ctx, w)
	defer closeProxies(all)
	for i, p := range all {
		row := measure.Row{Who: p.who}
		n := perProcess
		if p.who == "haproxy" || p.who == "nginx" {
			// Those open the connection to the server together with the client's.
			n, row.Note = n/4, "a quarter of the connections"
		}
		b.say("%s: %d idle connections", p.who, n)
		err := p.absent
		if err == nil {
			var each float64
			if each, err = perConnection(ctx, w, p.Proxy, n, i+1); err == nil {
				row.Values = []float64{each}
			}
		}
		if err != nil {
			row.Err = err.Error()
		}
		f.Rows = append(f.Rows, row)
	}
	return b.show(f)
}

// perConnection is by how many KB a proxy grows for each connection, after a
// while in which it may give back what it took to answer.
func perConnection(ctx context.Context, w *peer.Web, p *peer.Proxy, n, number int) (float64, error) {
	warm, err := w.Hold(ctx, p.Addr, 100, number)
	if err != nil {
		return 0, err
	}
	if err := warm(); err != nil {
		return 0, err
	}
	before, err := p.Memory()
	if err != nil {
		return 0, err
	}
	release, err := w.Hold(ctx, p.Addr, n, number)
	if err != nil {
		return 0, err
	}
	rest(ctx)
	after, err := p.Memory()
	if err := errors.Join(err, release()); err != nil {
		return 0, err
	}
	return 1024 * (after.PSS - before.PSS) / float64(n), nil
}

func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
	}
}

// held is how many connections the machine holds at once, in as many gateways as
// the limit of a process makes necessary.
func (b *bench) held(ctx context.Context, w *peer.Web) error {
	const gateways, each = 6, 16_700
	f := b.figure("gateway-held")
	if !b.wants(f.Name) {
		return nil
	}
	b.say("%s", f.What)
	var all []*peer.Proxy
	for range gateways {
		p, err := w.Sampan(ctx, 1)
		if err != nil {
			return err
		}
		defer p.Close()
		all = append(all, p)
	}
	row := measure.Row{Who: "sampan"}
	if memory, err := holdAll(ctx, w, all, each); err != nil {
		row.Err = err.Error()
	} else {
		row.Values = []float64{gateways * each}
		row.Note = fmt.Sprintf("%d processes, %.0f MB together", gateways, memory)
	}
	f.Rows = []measure.Row{row}
	return b.show(f)
}

// holdAll holds connections to all proxies at once, and returns what these hold
// of memory meanwhile. Each connection has been used before, and is used again
// at the end.
func holdAll(ctx context.Context, w *peer.Web, all []*peer.Proxy, each int) (memory float64, err error) {
	var releases []func() error
	defer func() {
		for _, release := range releases {
			err = errors.Join(err, release())
		}
	}()
	for i, p := range all {
		// From other addresses than before, whose ports may not be free yet.
		release, err := w.Hold(ctx, p.Addr, each, 100+i)
		if err != nil {
			return 0, err
		}
		releases = append(releases, release)
	}
	rest(ctx)
	for _, p := range all {
		m, err := p.Memory()
		if err != nil {
			return 0, err
		}
		memory += m.PSS
	}
	return memory, nil
}
