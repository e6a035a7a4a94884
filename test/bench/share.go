package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
)

// peerBurst is how many containers docker and podman are given, as many as they
// start in bearable time, and peerWidth how many of their commands run at once:
// more only queue up.
const (
	peerBurst = 40
	peerWidth = 8
)

// burstShare compares what one of many bridged containers takes that are started
// at once. ours is the milliseconds of one.
func (b *bench) burstShare(ctx context.Context, ours float64) (err error) {
	f := b.figure("burst-share")
	f.Rows = []measure.Row{{Who: "sampan", Note: fmt.Sprintf("%d at once", b.burst), Values: []float64{ours}}}
	if !b.wants(f.Name) {
		return nil
	}
	peers := b.contenders(ctx)
	defer func() { err = errors.Join(append(closeAll(peers), err)...) }()
	for _, p := range peers {
		row := measure.Row{Who: p.who, Note: fmt.Sprintf("%d containers, %d commands at once", peerBurst, peerWidth)}
		if p.absent != nil {
			row.Err = p.absent.Error()
		} else if share, err := peerShare(ctx, p); err != nil {
			row.Err = err.Error()
		} else {
			row.Values = []float64{share}
		}
		f.Rows = append(f.Rows, row)
	}
	return b.show(f)
}

func peerShare(ctx context.Context, p contender) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	took, removes, err := atOnce(ctx, peerBurst, peerWidth, func(ctx context.Context, _ int) (func(context.Context) error, error) {
		return p.Detached(ctx, "bridge")
	})
	_, failed := together(context.WithoutCancel(ctx), removes)
	return measure.Milliseconds(took) / peerBurst, errors.Join(err, failed)
}
