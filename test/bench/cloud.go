package main

import (
	"context"
	"errors"
	"os/exec"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// cloud measures the whole of Sampan. What the cloud must be idle for comes
// first, and the peers' daemons start after it.
func (b *bench) cloud(ctx context.Context) (err error) {
	if b.wants("pod", "pod-token", "deployment") {
		b.say("building the peers")
		if err := peer.BuildUpstream(ctx, b.source); err != nil {
			return err
		}
	}
	c, err := peer.NewCloud(b.source, b.dir, 10)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	b.report.Machine.Version("sampan", c.Program, "version")
	if err := b.ups(ctx, c); err != nil {
		return err
	}
	if err := c.Load(ctx, b.image); err != nil {
		return err
	}
	if err := b.idle(ctx, c); err != nil {
		return err
	}
	if err := b.clusters(ctx, c); err != nil {
		return err
	}
	if !b.wants("command", "run-rm-bridge", "run-rm-none") {
		return nil
	}
	peers := b.contenders(ctx)
	defer func() { err = errors.Join(append(closeAll(peers), err)...) }()
	if err := b.command(ctx, c, peers); err != nil {
		return err
	}
	return b.oneOffs(ctx, c, peers)
}

// clusters measures what goes through Kubernetes, against the same Kubernetes on
// containerd.
func (b *bench) clusters(ctx context.Context, c *peer.Cloud) (err error) {
	if !b.wants("pod", "pod-token", "deployment") {
		return nil
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	all := []cluster{{who: "sampan", kube: k}, {who: "containerd", note: "behind the same kubelet, Debian's runc"}}
	b.say("starting Kubernetes on containerd")
	if u, absent := peer.NewUpstream(ctx, b.source, b.dir, 11, b.image); absent != nil {
		all[1].absent = absent
	} else {
		defer func() { err = errors.Join(err, u.Close()) }()
		b.report.Machine.Version("containerd", u.Containerd(), "--version")
		all[1].kube, all[1].absent = u.Kube()
	}
	if err := b.pods(ctx, all); err != nil {
		return err
	}
	return b.deployment(ctx, all)
}

// ups leaves the cloud up.
func (b *bench) ups(ctx context.Context, c *peer.Cloud) error {
	const times = 3
	if !b.wants("up-cold", "up-restart") {
		b.say("sampan up")
		return c.Up(ctx)
	}
	cold, restart := b.figure("up-cold"), b.figure("up-restart")
	cold.Rows, restart.Rows = []measure.Row{{Who: "sampan"}}, []measure.Row{{Who: "sampan"}}
	for i := range times {
		b.say("sampan up, %d of %d", i+1, times)
		if err := b.timedUp(ctx, c, &cold); err != nil {
			return err
		}
		if err := c.Down(ctx, false); err != nil {
			return err
		}
		if err := b.timedUp(ctx, c, &restart); err != nil {
			return err
		}
		if i+1 < times {
			if err := c.Down(ctx, true); err != nil {
				return err
			}
		}
	}
	return errors.Join(b.show(cold), b.show(restart))
}

func (b *bench) timedUp(ctx context.Context, c *peer.Cloud, f *measure.Figure) error {
	began := time.Now()
	if err := c.Up(ctx); err != nil {
		return err
	}
	f.Rows[0].Values = append(f.Rows[0].Values, time.Since(began).Seconds())
	return nil
}

// command is how long a command line's own start takes.
func (b *bench) command(ctx context.Context, c *peer.Cloud, peers []contender) error {
	if !b.wants("command") {
		return nil
	}
	f := b.figure("command")
	all := []measure.Contestant{measure.Timed("sampan", "", func(ctx context.Context) error {
		return exec.CommandContext(ctx, c.Program, "version").Run()
	})}
	for _, p := range peers {
		all = append(all, p.enter(func(ctx context.Context, s starter) error {
			return exec.CommandContext(ctx, s.Client(), "--version").Run()
		}))
	}
	f.Rows = measure.Race(ctx, b.rounds, 10*time.Second, all...)
	return b.show(f)
}

// oneOffs run a program that ends at once, with everything that belongs to it.
func (b *bench) oneOffs(ctx context.Context, c *peer.Cloud, peers []contender) error {
	for _, network := range []string{"bridge", "none"} {
		f := b.figure("run-rm-" + network)
		if !b.wants(f.Name) {
			continue
		}
		b.say("run --rm, network %s", network)
		all := []measure.Contestant{measure.Timed("sampan", "", func(ctx context.Context) error { return c.OneOff(ctx, network) })}
		for _, p := range peers {
			all = append(all, p.enter(func(ctx context.Context, s starter) error { return s.OneOff(ctx, network) }))
		}
		f.Rows = measure.Race(ctx, b.rounds, 30*time.Second, all...)
		if err := b.show(f); err != nil {
			return err
		}
	}
	return nil
}
