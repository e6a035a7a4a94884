package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// engine measures the node engine without Kubernetes.
func (b *bench) engine(ctx context.Context) (err error) {
	b.say("building and starting the engine")
	e, err := peer.NewEngine(ctx, b.source, b.dir, 20, b.image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	for _, measured := range []func(context.Context, *peer.Engine) error{b.starts, b.cri, b.bursts} {
		if err := measured(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// starts measures one container at a time, up to its program's execve.
func (b *bench) starts(ctx context.Context, e *peer.Engine) (err error) {
	if !b.wants("start-none", "start-bridge") {
		return nil
	}
	var runtimes []measure.Contestant
	for _, name := range []string{"crun", "runc"} {
		o, absent := peer.NewOCI(ctx, b.dir, name, b.image)
		if absent != nil {
			runtimes = append(runtimes, measure.Contestant{Who: name, Once: func(context.Context) (float64, error) { return 0, absent }})
			continue
		}
		defer func() { err = errors.Join(err, o.Close()) }()
		b.report.Machine.Version(name, o.Program, "--version")
		runtimes = append(runtimes, measure.Contestant{Who: name, Note: o.Note, Once: o.Once})
	}
	for _, network := range []string{"none", "bridge"} {
		f := b.figure("start-" + network)
		if !b.wants(f.Name) {
			continue
		}
		b.say("%s", f.What)
		ours := measure.Contestant{Who: "sampan", Note: "from the image, with seccomp, over the local socket", Once: func(ctx context.Context) (float64, error) {
			return e.ToExec(ctx, network)
		}}
		f.Rows = measure.Race(ctx, 5*b.rounds, 10*time.Second, append([]measure.Contestant{ours}, runtimes...)...)
		if err := b.show(f); err != nil {
			return err
		}
	}
	return nil
}

// cri measures a pod with one container by the kubelet's three calls.
func (b *bench) cri(ctx context.Context, e *peer.Engine) error {
	if !b.wants("cri-1", "cri-50") {
		return nil
	}
	b.say("building and starting containerd")
	peers := []criPeer{{who: "sampan", note: "bridged, without Kubernetes", cri: e.CRI}}
	c, err := peer.NewContainerd(ctx, b.source, b.dir, 21, b.image)
	if err == nil {
		defer func() { err = errors.Join(err, c.Close()) }()
		b.report.Machine.Version("containerd", c.Program, "--version")
		peers = append(peers, criPeer{who: "containerd", note: "bridged, Debian's runc", cri: c.CRI})
	} else {
		peers = append(peers, criPeer{who: "containerd", absent: err})
	}
	for _, n := range []int{1, 50} {
		f, rounds := b.figure(fmt.Sprintf("cri-%d", n)), b.rounds
		if n > 1 {
			rounds = max(1, b.rounds/6)
		}
		if !b.wants(f.Name) {
			continue
		}
		b.say("%s", f.What)
		f.Rows = raceCRI(ctx, rounds, n, peers)
		if err := b.show(f); err != nil {
			return err
		}
	}
	return err
}
