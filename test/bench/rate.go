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

// burstRate compares how many bridged containers are started in a second.
func (b *bench) burstRate(ctx context.Context, ours float64) (err error) {
	f := measure.Figure{
		Name: "burst-rate", What: "containers started in a second, many at once, network bridge", Unit: "1/s: more is better",
		Rows: []measure.Row{{Who: "sampan", Note: fmt.Sprintf("%d at once", b.burst), Values: []float64{ours}}},
	}
	if !b.wants(f.Name) {
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
	_, failed := together(context.WithoutCancel(ctx), removes)
	return float64(len(removes)) / took.Seconds(), errors.Join(err, failed)
}
