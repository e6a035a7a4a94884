package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/base/runfs"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/keeper"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// Config holds the settings of a Runtime. Dir, Keeper and Cgroups are required.
type Config struct {
	Dir      string            // the keeper's socket and containers' state; on a filesystem that ends with the machine's run, as /run is
	Keeper   string            // the keeper's program
	Cgroups  *cgroup.Manager   // where containers' cgroups are made
	Runtimes map[string]string // stock OCI runtimes beside runc and crun, or others in their place: handler to program
	CRIU     string            // the program that checkpoints and restores; empty looks for criu in PATH

	KeeperCgroup string // the keeper's own, outside the daemon's; empty leaves it in that
	// Settle puts a new keeper where it is to live instead; nil is KeeperCgroup.
	Settle func(ctx context.Context, pid int) error
}

// Runtime runs containers through the keeper. It holds duplicates of what the
// keeper cannot find again by name, so that either may die.
//
// Locks: Runtime.mu before unit.mu; linkMu alone.
type Runtime struct {
	cfg      Config
	log      *slog.Logger
	programs seccomp.Cache
	ns       *namespaces
	handlers *handlers

	linkMu sync.Mutex
	link   *link         // nil while there is no keeper
	linked chan struct{} // closed when link is set

	mu        sync.Mutex
	units     map[string]*unit
	listeners map[*listener]bool

	lastAttach atomic.Uint64

	leaving atomic.Bool // Down has begun
	stop    context.CancelFunc
	work    sync.WaitGroup
}

// Connect finds the keeper of cfg.Dir or starts one, and learns of all its
// containers. Until Close it starts another whenever the keeper dies.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Runtime, error) {
	if cfg.Dir == "" || cfg.Keeper == "" || cfg.Cgroups == nil {
		return nil, fmt.Errorf("container runtime: Dir, Keeper and Cgroups are required: %w", fault.Invalid)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	cfg.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	// After a reboot records would speak of processes that are others by then.
	if err := runfs.Ensure(dir); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	r := &Runtime{
		cfg: cfg, log: log, ns: newNamespaces(filepath.Join(dir, nsDir)), linked: make(chan struct{}),
		handlers: newHandlers(cfg.Runtimes), units: map[string]*unit{}, listeners: map[*listener]bool{},
	}
	if err := r.ns.prepare(); err != nil {
		return nil, err
	}
	first, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.clearIntents(ctx); err != nil {
		first.close()
		return nil, err
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = cancel
	r.work.Go(func() { r.supervise(own, first) })
	if build := keeper.Digest(cfg.Keeper); build != "" && build != first.keeper.Build {
		log.Info("keeper is of another build, replacing it in place", "pid", first.keeper.PID)
		if err := r.Upgrade(ctx); err != nil {
			// An older keeper still keeps.
			log.Warn("keeper not upgraded", "err", err)
		}
	}
	return r, nil
}

// Close lets go of the keeper. It and its containers go on.
func (r *Runtime) Close() error {
	r.stop()
	r.linkMu.Lock()
	if r.link != nil {
		r.link.close()
	}
	r.linkMu.Unlock()
	r.work.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.units {
		u.letGo()
	}
	return nil
}

// supervise replaces the connection, and the keeper if need be, whenever it ends.
func (r *Runtime) supervise(ctx context.Context, l *link) {
	for pause := time.Millisecond; ; {
		if l != nil {
			select {
			case <-l.gone:
				pause = time.Millisecond
			case <-ctx.Done():
				l.close()
				return
			}
			r.unlink()
			if ctx.Err() != nil || r.leaving.Load() {
				return
			}
			r.log.Warn("keeper is gone, connecting anew", "pid", l.keeper.PID)
		}
		var err error
		if l, err = r.connect(ctx); err != nil {
			r.log.Error("no keeper", "err", err)
			pause = min(2*pause, 5*time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
		}
	}
}

func (r *Runtime) unlink() {
	r.linkMu.Lock()
	defer r.linkMu.Unlock()
	r.link = nil
	r.linked = make(chan struct{})
}

// keeper returns the connection, waiting for one while the keeper restarts.
func (r *Runtime) keeper(ctx context.Context) (*link, error) {
	for {
		r.linkMu.Lock()
		l, linked := r.link, r.linked
		r.linkMu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-linked:
		case <-ctx.Done():
			return nil, fmt.Errorf("keeper: %w: %w", fault.Unavailable, ctx.Err())
		}
	}
}

// call asks the keeper. When it dies before it answers, its successor is asked if
// again says that the request may be repeated, or if it was not begun.
func (r *Runtime) call(ctx context.Context, again bool, call string, body any, fds []int, answer any) ([]*os.File, error) {
	for {
		l, err := r.keeper(ctx)
		if err != nil {
			return nil, err
		}
		files, err := l.call(ctx, call, body, fds, answer)
		if !errors.Is(err, errUnasked) && (!again || !errors.Is(err, errGone)) || ctx.Err() != nil {
			return files, err
		}
		// Until the supervisor has seen it too, or the keeper is itself again.
		time.Sleep(time.Millisecond)
	}
}

// connect finds or starts a keeper, hands back what is held for it, and takes
// over what it knows. One that dies meanwhile has a successor.
func (r *Runtime) connect(ctx context.Context) (*link, error) {
	for failed := 1; ; failed++ {
		l, err := r.meet(ctx)
		if err == nil {
			r.linkMu.Lock()
			defer r.linkMu.Unlock()
			r.link = l
			close(r.linked)
			return l, nil
		}
		if !errors.Is(err, errGone) || failed == deaths || ctx.Err() != nil {
			return nil, err
		}
	}
}

// meet dials a keeper and gets to know it.
func (r *Runtime) meet(ctx context.Context) (*link, error) {
	l, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.introduce(ctx, l); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (r *Runtime) introduce(ctx context.Context, l *link) error {
	r.mu.Lock()
	mine := slices.Collect(maps.Values(r.units))
	r.mu.Unlock()
	for _, u := range mine {
		if err := u.handBack(ctx, l); err != nil && fault.Of(err) != fault.NotFound {
			return fmt.Errorf("hand back %s: %w", u.id, err)
		}
	}
	var all []wire.Status
	if _, err := l.call(ctx, wire.CallList, wire.List{Settle: true}, nil, &all); err != nil {
		return err
	}
	known := map[string]bool{}
	for _, st := range all {
		known[st.ID] = true
		u := r.unit(st.ID, true)
		if !st.Exited && !u.holds() {
			if err := u.hold(ctx, l); err != nil && fault.Of(err) != fault.NotFound {
				return fmt.Errorf("hold %s: %w", st.ID, err)
			}
		}
		r.learn(st)
	}
	for _, u := range mine {
		if !known[u.id] && !u.isStarting() {
			r.forget(u)
		}
	}
	return nil
}
