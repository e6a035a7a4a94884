package peer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Podman is Debian's podman, which has no daemon.
type Podman struct {
	room   *Room
	client string
	Note   string   // what it runs containers with
	args   []string // of every command
	groups func() error
}

// lowLimits keep podman from raising limits, which takes a capability that the
// machine may lack; lowering them takes none.
func lowLimits() []string { return []string{"--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"} }

// NewPodman prepares room number n and loads the image. Podman's own choice of
// runtime is crun; where crun refuses the machine's cgroups it gets runc.
func NewPodman(ctx context.Context, dir string, n int, im Image) (_ *Podman, err error) {
	p := &Podman{groups: cgroups("libpod_parent", "conmon")}
	if p.client, err = program("podman"); err != nil {
		return nil, err
	}
	if p.room, err = NewRoom(dir, "podman", n); err != nil {
		return nil, err
	}
	common := []string{
		"--root", filepath.Join(p.room.Dir, "data"), "--runroot", filepath.Join(p.room.Run, "podman"),
		"--tmpdir", filepath.Join(p.room.Run, "libpod"), "--network-config-dir", filepath.Join(p.room.Dir, "networks"),
		"--cgroup-manager", "cgroupfs", "--events-backend", "file", "--storage-driver", "overlay", "--log-level", "error",
	}
	var errs []error
	for _, runtime := range []string{"crun", "runc"} {
		p.args, p.Note = slices.Concat(common, []string{"--runtime", runtime}), "with "+runtime
		if _, err = p.run(ctx, "load", "-q", "-i", im.Archive); err == nil {
			err = p.OneOff(ctx, "none")
		}
		if err == nil {
			return p, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(append(errs, p.Close())...)
}

func (p *Podman) run(ctx context.Context, args ...string) (string, error) {
	return p.room.Exec(ctx, nil, p.client, slices.Concat(p.args, args)...)
}

// OneOff is `podman run --rm` of a program that ends at once.
func (p *Podman) OneOff(ctx context.Context, network string) error {
	_, err := p.run(ctx, slices.Concat([]string{"run", "--rm", "--network", network}, lowLimits(), []string{Ref, "exit"})...)
	return err
}

// Detached starts a container that stays, and returns a function that removes it.
func (p *Podman) Detached(ctx context.Context, network string) (remove func(context.Context) error, err error) {
	out, err := p.run(ctx, slices.Concat([]string{"run", "--detach", "--network", network}, lowLimits(), []string{Ref})...)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := p.run(ctx, "rm", "--force", "--time", "0", strings.TrimSpace(out))
		return err
	}, nil
}

// Client is the command line's program.
func (p *Podman) Client() string { return p.client }

// Close removes its containers, images and data.
func (p *Podman) Close() error {
	ctx := context.Background() // cleaning up outlives whoever interrupted the run
	_, rm := p.run(ctx, "rm", "--all", "--force", "--time", "0")
	if err := errors.Join(rm, p.groups(), p.room.Close()); err != nil {
		return fmt.Errorf("podman: %w", err)
	}
	return nil
}
