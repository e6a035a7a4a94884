package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// criPeer is an engine behind CRI, or why there is none.
type criPeer struct {
	who, note string
	cri       *peer.CRI
	absent    error
}

// raceCRI lets the engines take turns at making n pods at once. Each pod's own
// time is a value, so the rows have rounds × n of them.
func raceCRI(ctx context.Context, rounds, n int, peers []criPeer) []measure.Row {
	each := make([][]float64, len(peers))
	var all []measure.Contestant
	for i, p := range peers {
		all = append(all, measure.Contestant{Who: p.who, Note: p.note, Once: func(ctx context.Context) (float64, error) {
			if p.absent != nil {
				return 0, p.absent
			}
			if err := measure.Rest(ctx); err != nil {
				return 0, err
			}
			values, err := podsAtOnce(ctx, p.cri, n)
			each[i] = append(each[i], values...)
			return 0, err
		}})
	}
	rows := measure.Race(ctx, rounds, 3*time.Minute, all...)
	for i := range rows {
		// As in the race: the first round does not count.
		rows[i].Values = each[i][min(n, len(each[i])):]
	}
	return rows
}

// podsAtOnce makes n pods, removes them, and returns how long each took to run.
func podsAtOnce(ctx context.Context, c *peer.CRI, n int) ([]float64, error) {
	values := make([]float64, n)
	_, removes, err := atOnce(ctx, n, n, func(ctx context.Context, i int) (func(context.Context) error, error) {
		began := time.Now()
		remove, err := c.Pod(ctx)
		values[i] = measure.Milliseconds(time.Since(began))
		return remove, err
	})
	_, e := together(context.WithoutCancel(ctx), removes)
	return values, errors.Join(err, e)
}

// atOnce calls start n times, at most width at a time, and returns how long all
// took, and what undoes those that worked.
func atOnce(ctx context.Context, n, width int, start func(ctx context.Context, i int) (func(context.Context) error, error)) (time.Duration, []func(context.Context) error, error) {
	undo := make([]func(context.Context) error, n)
	errs := make([]error, n)
	slots := make(chan struct{}, width)
	var all sync.WaitGroup
	began := time.Now()
	for i := range n {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			undo[i], errs[i] = start(ctx, i)
		})
	}
	all.Wait()
	took := time.Since(began)
	var done []func(context.Context) error
	for _, u := range undo {
		if u != nil {
			done = append(done, u)
		}
	}
	return took, done, errors.Join(errs...)
}

// together calls all at once and returns how long it took.
func together(ctx context.Context, all []func(context.Context) error) (time.Duration, error) {
	took, _, err := atOnce(ctx, len(all), max(1, len(all)), func(ctx context.Context, i int) (func(context.Context) error, error) {
		return nil, all[i](ctx)
	})
	return took, err
}
