package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/base/runfs"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// Down ends everything of cfg.Dir: its containers, its keeper, its mounts, its
// cgroups, and the directory. It does so too after everything was killed.
func Down(ctx context.Context, cfg Config, log *slog.Logger) error {
	if _, err := os.Stat(cfg.Dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	r, err := Connect(ctx, cfg, log)
	if err != nil {
		return fmt.Errorf("down: %w", err)
	}
	return r.Down(ctx)
}

// Down is the package's Down for a connected runtime, which is closed by it.
func (r *Runtime) Down(ctx context.Context) error {
	all, err := r.List(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var errs []error
	var ends sync.WaitGroup
	for _, st := range all {
		ends.Go(func() {
			if err := r.end(ctx, st.ID); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	ends.Wait()
	if len(errs) > 0 {
		return fmt.Errorf("down: %w", errors.Join(errs...))
	}
	r.leaving.Store(true) // no keeper is started again
	if err := r.quit(ctx); err != nil {
		return fmt.Errorf("down: %w", err)
	}
	errs = append(errs, r.Close(), r.ns.close())
	if r.cfg.KeeperCgroup != "" {
		if group, err := r.cfg.Cgroups.Open(r.cfg.KeeperCgroup); err == nil {
			errs = append(errs, group.Delete(ctx))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("down: %w", err)
	}
	if err := runfs.Drop(r.cfg.Dir); err != nil {
		return fmt.Errorf("down: %w", err)
	}
	return os.RemoveAll(r.cfg.Dir)
}

// end kills and deletes one container.
func (r *Runtime) end(ctx context.Context, id string) error {
	if err := r.Signal(ctx, id, int(unix.SIGKILL), true); err != nil && !errors.Is(err, fault.Precondition) && !errors.Is(err, fault.NotFound) {
		return err
	}
	if _, err := r.Wait(ctx, id); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	return r.Delete(ctx, id)
}

// quit ends the keeper and waits until it is gone.
func (r *Runtime) quit(ctx context.Context) error {
	r.linkMu.Lock()
	l := r.link
	r.linkMu.Unlock()
	if l == nil {
		return nil
	}
	process, err := unix.PidfdOpen(l.keeper.PID, 0)
	if err != nil {
		return nil // gone already
	}
	defer unix.Close(process)
	if _, err := l.call(ctx, wire.CallQuit, struct{}{}, nil, nil); err != nil && !errors.Is(err, errGone) {
		return err
	}
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}, int(time.Second.Milliseconds()))
		if err == nil && n > 0 {
			return nil
		}
	}
	return fmt.Errorf("keeper does not end: %w", ctx.Err())
}
