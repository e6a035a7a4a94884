package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// Signal sends a signal to the container's first process, or to all of them. It
// needs no keeper.
func (r *Runtime) Signal(ctx context.Context, id string, signal int, all bool) error {
	u, err := r.running(id)
	if err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	if all {
		group, err := r.group(u)
		if err == nil && signal == int(unix.SIGKILL) {
			err = group.Kill(ctx)
		} else if err == nil {
			err = group.Signal(unix.Signal(signal))
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, fault.NotFound) {
			return fmt.Errorf("signal container %s: %w", id, err)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	process := u.file(isPidfd)
	if process == nil {
		return fmt.Errorf("signal container %s: its process is not known: %w", id, fault.Precondition)
	}
	err = unix.PidfdSendSignal(descriptor(process), unix.Signal(signal), nil, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil // its end is on the way
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("signal container %s: signal %d: %w", id, signal, fault.Invalid)
	case err != nil:
		return fmt.Errorf("signal container %s: %w", id, err)
	}
	return nil
}

// group opens a container's cgroup.
func (r *Runtime) group(u *unit) (*cgroup.Group, error) {
	u.mu.Lock()
	path := u.status.Cgroup
	u.mu.Unlock()
	if path == "" {
		return nil, fmt.Errorf("container %s: its cgroup: %w", u.id, fault.NotFound)
	}
	return r.cfg.Cgroups.Open(path)
}

// Update changes a running container's limits.
func (r *Runtime) Update(ctx context.Context, id string, resources *specs.LinuxResources) error {
	u, err := r.running(id)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	u.mu.Lock()
	stock := u.status.Runtime != ""
	u.mu.Unlock()
	if stock {
		_, err = r.call(ctx, true, wire.CallControl, wire.Control{ID: id, Resources: r.countable(resources)}, nil, nil)
	} else {
		var group *cgroup.Group
		if group, err = r.group(u); err == nil {
			err = group.Update(resources)
		}
	}
	if err != nil {
		return fmt.Errorf("update container %s: %w", id, err)
	}
	return nil
}

// ReopenLog goes on in a new file: somebody has moved the old one.
func (r *Runtime) ReopenLog(ctx context.Context, id string) error {
	if _, err := r.running(id); err != nil {
		return fmt.Errorf("reopen log: %w", err)
	}
	if _, err := r.call(ctx, true, wire.CallReopen, wire.Target{ID: id}, nil, nil); err != nil {
		return fmt.Errorf("reopen log of container %s: %w", id, err)
	}
	return nil
}

// Stats tells what a running container has used.
func (r *Runtime) Stats(_ context.Context, id string) (Stats, error) {
	u, err := r.running(id)
	if err != nil {
		return Stats{}, fmt.Errorf("stats: %w", err)
	}
	group, err := r.group(u)
	if err != nil {
		return Stats{}, fmt.Errorf("stats of container %s: %w", id, err)
	}
	s, err := group.Stats()
	if err != nil {
		return Stats{}, fmt.Errorf("stats of container %s: %w", id, err)
	}
	return Stats(s), nil
}

// Upgrade has the keeper go on as the program that Config.Keeper is now. It
// stays the same process, and its containers do not notice.
func (r *Runtime) Upgrade(ctx context.Context) error {
	l, err := r.keeper(ctx)
	if err != nil {
		return err
	}
	_, err = l.call(ctx, wire.CallUpgrade, wire.Upgrade{Binary: r.cfg.Keeper}, nil, nil)
	if err == nil || errors.Is(err, errGone) {
		return nil // the connection ended with the old program
	}
	return fmt.Errorf("upgrade keeper: %w", err)
}
