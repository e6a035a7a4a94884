package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// peerBurst is how many containers docker and podman are given, which start
// them hundreds of times slower, and peerWidth how many of their commands run at
// once: more only queue up.
const (
	peerBurst = 40
	peerWidth = 8
)

// bursts measures many containers at once: to start, to hold and to remove. The
// goals are for a thousand.
func (b *bench) bursts(ctx context.Context, e *peer.Engine) (err error) {
	if !b.wants("burst") && !b.wants("teardown") && !b.wants("memory") {
		return nil
	}
	before, err := e.Memory()
	if err != nil {
		return err
	}
	memory := measure.Figure{Name: "memory", What: fmt.Sprintf("engine and keeper together, %d containers", b.burst), Unit: "MB", Goal: measure.Goal{Median: 120}}
	rate := measure.Figure{Name: "burst-rate", What: "containers started in a second, many at once, network bridge", Unit: "1/s"}
	for _, kind := range []struct {
		network string
		goal    float64
	}{{"none", 3}, {"bridge", 8}} {
		b.say("%d containers at once, network %s", b.burst, kind.network)
		up := measure.Figure{Name: "burst-" + kind.network, What: fmt.Sprintf("%d containers started at once, network %s", b.burst, kind.network), Unit: "s", Goal: measure.Goal{Median: kind.goal}}
		down := measure.Figure{Name: "teardown-" + kind.network, What: fmt.Sprintf("%d containers removed at once, network %s", b.burst, kind.network), Unit: "s", Goal: measure.Goal{Median: 3}}
		up.Rows, down.Rows = []measure.Row{{Who: "sampan"}}, []measure.Row{{Who: "sampan"}}
		for range 3 {
			t, m, err := b.burstOnce(ctx, e, kind.network)
			if err != nil {
				up.Rows[0].Err = err.Error()
				break
			}
			up.Rows[0].Values = append(up.Rows[0].Values, t.up.Seconds())
			down.Rows[0].Values = append(down.Rows[0].Values, t.down.Seconds())
			memory.Rows = append(memory.Rows, one("sampan, network "+kind.network, m.RSS), one("sampan, network "+kind.network+", proportional", m.PSS))
			if kind.network == "bridge" {
				rate.Rows = []measure.Row{one("sampan", float64(b.burst)/up.Rows[0].Median())}
			}
		}
		if err := errors.Join(b.show(up), b.show(down)); err != nil {
			return err
		}
	}
	memory.Rows = append(memory.Rows, one("before any container", before.RSS))
	if err := b.show(memory); err != nil {
		return err
	}
	return b.peerBursts(ctx, rate)
}

type burstTimes struct{ up, down time.Duration }

func (b *bench) burstOnce(ctx context.Context, e *peer.Engine, network string) (burstTimes, measure.Memory, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var t burstTimes
	up, removes, err := atOnce(ctx, b.burst, b.burst, func(ctx context.Context, _ int) (func(context.Context) error, error) {
		return e.Detached(ctx, network)
	})
	t.up = up
	var held measure.Memory
	if err == nil {
		held, err = e.Memory()
	}
	cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	down, e2 := together(cleaning, removes)
	t.down = down
	return t, held, errors.Join(err, e2)
}

// peerBursts asks docker and podman for as many as they do in bearable time.
func (b *bench) peerBursts(ctx context.Context, f measure.Figure) (err error) {
	if !b.wants(f.Name) || len(f.Rows) == 0 {
		return nil
	}
	peers := b.contenders(ctx)
	defer func() { err = errors.Join(append(closeAll(peers), err)...) }()
	for _, p := range peers {
		row := measure.Row{Who: p.who, Note: fmt.Sprintf("%d containers, %d commands at once", peerBurst, peerWidth)}
		if p.absent != nil {
			row.Err = p.absent.Error()
		} else if perSecond, err := peerRate(ctx, p); err != nil {
			row.Err = err.Error()
		} else {
			row.Values = []float64{perSecond}
		}
		f.Rows = append(f.Rows, row)
	}
	return b.show(f)
}

func peerRate(ctx context.Context, p contender) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	took, removes, err := atOnce(ctx, peerBurst, peerWidth, func(ctx context.Context, _ int) (func(context.Context) error, error) {
		return p.Detached(ctx, "bridge")
	})
	_, e := together(context.WithoutCancel(ctx), removes)
	return float64(len(removes)) / took.Seconds(), errors.Join(err, e)
}
