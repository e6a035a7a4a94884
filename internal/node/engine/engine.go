package engine

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/singleflight"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/devices"
)

// Config holds the settings of an Engine. Dir is required.
type Config struct {
	Dir           string              // records, anonymous volumes
	RunDir        string              // where the pods' files are mounted; best on a tmpfs; empty is below Dir
	CgroupParent  string              // of pods that name none
	CDIDirs       []string            // where CDI specifications lie; nil is the usual places
	Annotations   []string            // of pods and containers that are for a stock runtime; one that ends in * stands for all that begin so
	Rlimits       []specs.POSIXRlimit // of every container; nil leaves the keeper's
	Pause         []string            // program and arguments that hold a shared process namespace
	StopTimeout   time.Duration       // between stop signal and SIGKILL where nobody says; zero is 10 s
	RestoreImages bool                // whether images may hold checkpoints, which decide over the rights of their processes
	Starts        int                 // pods and containers made at once; zero is by the processors
}

// Engine makes and keeps pods and containers.
type Engine struct {
	cfg     Config
	parts   Parts
	log     *slog.Logger
	boot    string
	records *records
	hub     *hub
	cdi     *devices.Registry
	unpacks singleflight.Group
	gate    *gate
	machine machine
	running atomic.Bool  // the records are in line with what runs
	users   func() error // tells, from the first call on, why there are no user namespaces

	mu         sync.Mutex
	pods       table[*pod]
	containers table[*ctr]
	whole      map[string]bool // topmost layers of images that lack no mount point

	background sync.WaitGroup // clean-up that outlives the call that began it
}

// pod is a Pod with its locks. Once stopping is set no container of it starts.
type pod struct {
	op       sync.Mutex
	mu       sync.Mutex
	rec      Pod
	stopping bool
}

// ready returns the pod if containers can be made and started in it.
func (p *pod) ready() (Pod, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping || p.rec.State != PodReady {
		return Pod{}, fmt.Errorf("pod %s is stopped: %w", p.rec.ID, fault.Precondition)
	}
	return p.rec.clone(), nil
}

func (p *pod) get() Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rec.clone()
}

// ctr is a Container with its locks. done is closed once it has ended, which is
// also so after a failed start.
type ctr struct {
	op   sync.Mutex
	mu   sync.Mutex
	rec  Container
	spec *container.Spec // until it is started; op guards it; nil: read the record
	pod  *pod
	once sync.Once
	done chan struct{}

	checkpointing atomic.Bool
}

func newCtr(rec Container, p *pod) *ctr {
	return &ctr{rec: rec, pod: p, done: make(chan struct{})}
}

func (c *ctr) get() Container {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec.clone()
}

func (c *ctr) ended() { c.once.Do(func() { close(c.done) }) }

// Open prepares an engine in cfg.Dir and reads its records. Run brings them in
// line with what really runs; until then they are as the last engine left them.
func Open(cfg Config, parts Parts, log *slog.Logger) (*Engine, error) {
	if cfg.Dir == "" || !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("engine: directory %q is not absolute: %w", cfg.Dir, fault.Invalid)
	}
	if cfg.RunDir == "" {
		cfg.RunDir = filepath.Join(cfg.Dir, "run")
	}
	if cfg.CgroupParent == "" {
		cfg.CgroupParent = "/sampan"
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 10 * time.Second
	}
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	rec, err := openRecords(cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{podsDir(cfg), filesDir(cfg)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
	}
	m, err := readMachine()
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	described, err := devices.OpenRegistry(devices.Config{Dirs: cfg.CDIDirs})
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e := &Engine{
		cfg: cfg, parts: parts, log: log, boot: boot, records: rec, hub: newHub(), gate: newGate(cfg.Starts), cdi: described, machine: m,
		pods: newTable[*pod]("pod"), containers: newTable[*ctr]("container"), whole: map[string]bool{},
	}
	e.users = sync.OnceValue(func() error { return parts.Runtime.UserNamespaces(cfg.Dir) })
	return e, e.load()
}

// Run brings the records in line with what runs, calls ready, and records every
// exit until ctx ends. Containers go on without it.
func (e *Engine) Run(ctx context.Context, ready func()) error {
	exits, err := e.parts.Runtime.Exits(ctx)
	if err != nil {
		return fmt.Errorf("listen for exits: %w", err)
	}
	if err := e.reconcile(ctx); err != nil {
		return err
	}
	e.sweep(ctx)
	e.running.Store(true)
	ready()
	for exit := range exits {
		e.exited(exit)
	}
	e.background.Wait()
	if ctx.Err() == nil {
		return fmt.Errorf("listen for exits: the runtime hung up: %w", fault.Unavailable)
	}
	return nil
}

// begun refuses to make anything before Run is ready: it would be swept away as
// what a crash left.
func (e *Engine) begun() error {
	if !e.running.Load() {
		return fmt.Errorf("the engine is starting: %w", fault.Unavailable)
	}
	return nil
}

// Handlers returns the names of the runtime handlers, the native path as "".
func (e *Engine) Handlers() []string { return append([]string{""}, e.parts.Runtime.Handlers()...) }

// Pod finds a pod of owner by ID or unique prefix.
func (e *Engine) Pod(owner, id string) (Pod, error) {
	p, err := e.findPod(owner, id)
	if err != nil {
		return Pod{}, err
	}
	return p.get(), nil
}

// Pods returns the pods of owner, oldest first.
func (e *Engine) Pods(owner string) []Pod {
	e.mu.Lock()
	all := make([]*pod, 0, len(e.pods.byID))
	for _, p := range e.pods.byID {
		all = append(all, p)
	}
	e.mu.Unlock()
	out := make([]Pod, 0, len(all))
	for _, p := range all {
		if rec := p.get(); rec.Config.Owner == owner {
			out = append(out, rec)
		}
	}
	slices.SortFunc(out, func(a, b Pod) int { return a.Created.Compare(b.Created) })
	return out
}

// Container finds a container of owner by ID or unique prefix.
func (e *Engine) Container(owner, id string) (Container, error) {
	c, err := e.findContainer(owner, id)
	if err != nil {
		return Container{}, err
	}
	return c.get(), nil
}

// Containers returns the containers of owner, oldest first.
func (e *Engine) Containers(owner string) []Container {
	return e.list(func(c *ctr) bool { return c.pod.rec.Config.Owner == owner })
}

// ContainersOf returns the containers of a pod, oldest first.
func (e *Engine) ContainersOf(podID string) []Container {
	return e.list(func(c *ctr) bool { return c.pod.rec.ID == podID })
}

// list returns the containers that want holds for. want may read only what
// never changes.
func (e *Engine) list(want func(*ctr) bool) []Container {
	found := e.members(want)
	out := make([]Container, 0, len(found))
	for _, c := range found {
		out = append(out, c.get())
	}
	slices.SortFunc(out, func(a, b Container) int {
		if d := a.Created.Compare(b.Created); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func (e *Engine) members(want func(*ctr) bool) []*ctr {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []*ctr
	for _, c := range e.containers.byID {
		if want(c) {
			found = append(found, c)
		}
	}
	return found
}

// findPod hides pods of other owners: to this API they do not exist.
func (e *Engine) findPod(owner, id string) (*pod, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.pods.find(id)
	if err != nil {
		return nil, err
	}
	if p.rec.Config.Owner != owner { // Owner never changes, so p.mu is not needed
		return nil, fmt.Errorf("pod %q: %w", id, fault.NotFound)
	}
	return p, nil
}

func (e *Engine) findContainer(owner, id string) (*ctr, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.containers.find(id)
	if err != nil {
		return nil, err
	}
	if c.pod.rec.Config.Owner != owner {
		return nil, fmt.Errorf("container %q: %w", id, fault.NotFound)
	}
	return c, nil
}

// cleanup returns a context for work that must be done even if the caller has
// hung up.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}
