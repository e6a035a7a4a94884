package main

import (
	"context"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// starter is who starts whole containers from images.
type starter interface {
	// OneOff runs a program that ends at once, and removes the container.
	OneOff(ctx context.Context, network string) error
	// Detached starts a container that stays until it is removed.
	Detached(ctx context.Context, network string) (remove func(context.Context) error, err error)
	Client() string
	Close() error
}

// contender is a peer, or why there is none.
type contender struct {
	who  string
	note string
	starter
	absent error
}

// contenders starts docker and podman. Close each that is there.
func (b *bench) contenders(ctx context.Context) []contender {
	b.say("starting docker and podman")
	all := []contender{{who: "docker"}, {who: "podman"}}
	if d, err := peer.NewDocker(ctx, b.dir, 1, b.image); err != nil {
		all[0].absent = err
	} else {
		all[0].starter = d
		b.report.Machine.Version("docker", d.Client(), "--version")
	}
	if p, err := peer.NewPodman(ctx, b.dir, 2, b.image); err != nil {
		all[1].absent = err
	} else {
		all[1].starter, all[1].note = p, p.Note
		b.report.Machine.Version("podman", p.Client(), "--version")
	}
	return all
}

func closeAll(all []contender) []error {
	var errs []error
	for _, c := range all {
		if c.starter != nil {
			errs = append(errs, c.Close())
		}
	}
	return errs
}

// enter makes a contestant, or one that fails at once with why it is absent.
func (c contender) enter(do func(ctx context.Context, s starter) error) measure.Contestant {
	return measure.Timed(c.who, c.note, func(ctx context.Context) error {
		if c.absent != nil {
			return c.absent
		}
		return do(ctx, c.starter)
	})
}
