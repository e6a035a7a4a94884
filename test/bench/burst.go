package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// burstRounds is how often a thousand containers are started; each is seconds.
const burstRounds = 3

// bursts measures many containers at once: to start, to hold and to remove. The
// goals are for a thousand.
func (b *bench) bursts(ctx context.Context, e *peer.Engine) error {
	if !b.wants("burst-none", "burst-bridge", "teardown-none", "teardown-bridge", "memory", "burst-share") {
		return nil
	}
	before, err := e.Memory()
	if err != nil {
		return err
	}
	memory := b.figure("memory")
	bridged := measure.Row{}
	for _, network := range []string{"bridge", "none"} {
		if !b.wants("burst-"+network, "teardown-"+network, "memory") && (network != "bridge" || !b.wants("burst-share")) {
			continue
		}
		b.say("%d containers at once, network %s", b.burst, network)
		up, down := b.figure("burst-"+network), b.figure("teardown-"+network)
		up.Rows, down.Rows = []measure.Row{{Who: "sampan"}}, []measure.Row{{Who: "sampan"}}
		held := measure.Row{Who: "network " + network}
		for range burstRounds {
			t, err := b.burstOnce(ctx, e, network)
			if err != nil {
				up.Rows[0].Err, down.Rows[0].Err = err.Error(), err.Error()
				break
			}
			up.Rows[0].Values = append(up.Rows[0].Values, t.up.Seconds())
			down.Rows[0].Values = append(down.Rows[0].Values, t.down.Seconds())
			held.Values = append(held.Values, t.held.RSS)
		}
		memory.Rows = append(memory.Rows, held)
		if network == "bridge" {
			bridged = up.Rows[0]
		}
		if err := errors.Join(b.show(up), b.show(down)); err != nil {
			return err
		}
	}
	// The goal is held against the first row, so the worse of the two comes first.
	slices.SortFunc(memory.Rows, func(a, b measure.Row) int { return cmp.Compare(b.Median(), a.Median()) })
	memory.Rows = append(memory.Rows, one("before any container", before.RSS))
	if b.wants(memory.Name) {
		if err := b.show(memory); err != nil {
			return err
		}
	}
	if len(bridged.Values) == 0 {
		return nil
	}
	return b.burstShare(ctx, 1000*bridged.Median()/float64(b.burst))
}

// round is one round of it.
type round struct {
	up, down time.Duration
	held     measure.Memory
}

func (b *bench) burstOnce(ctx context.Context, e *peer.Engine, network string) (t round, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	up, removes, err := atOnce(ctx, b.burst, b.burst, func(ctx context.Context, _ int) (func(context.Context) error, error) {
		return e.Detached(ctx, network)
	})
	t.up = up
	if err == nil {
		t.held, err = e.Memory()
	}
	cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	down, failed := together(cleaning, removes)
	t.down = down
	return t, errors.Join(err, failed)
}
