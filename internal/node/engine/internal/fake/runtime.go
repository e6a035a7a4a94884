// Package fake stands in for the parts below the engine in tests: it keeps what
// it is asked for in memory, on directories of the test's own.
package fake

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
)

// Runtime runs nothing. A container of it runs until it is signalled or Exit is
// called; the signals in Ignore do not end it.
type Runtime struct {
	mu       sync.Mutex
	running  map[string]*process
	exits    []chan container.Exit
	spaces   map[string]container.Namespaces
	Started  map[string]container.Spec
	Execs    []*specs.Process
	Updates  map[string]*specs.LinuxResources
	Reopened []string
	Ignore   map[int]bool
	FailWith error // of the next Start
	Unable   error // of every Choose
	ExecCode int
	ExecText string // what an exec writes to its output before it echoes its input
	ExecWait bool   // an exec lasts until its context ends
}

type process struct {
	status  container.Status
	done    chan struct{}
	signals []int
}

// NewRuntime returns a Runtime.
func NewRuntime() *Runtime {
	return &Runtime{
		running: map[string]*process{}, spaces: map[string]container.Namespaces{},
		Started: map[string]container.Spec{}, Updates: map[string]*specs.LinuxResources{}, Ignore: map[int]bool{},
	}
}

// Handlers is the one stock runtime.
func (r *Runtime) Handlers() []string { return []string{"runc"} }

// Choose has everything with hooks or annotations run by the stock runtime.
func (r *Runtime) Choose(_ context.Context, spec container.Spec) (container.Choice, error) {
	if r.Unable != nil {
		return container.Choice{}, r.Unable
	}
	switch {
	case spec.Runtime != "":
	case spec.OCI.Hooks != nil:
		return container.Choice{Runtime: "runc", Reason: "hooks"}, nil
	case len(spec.OCI.Annotations) > 0:
		return container.Choice{Runtime: "runc", Reason: "annotations"}, nil
	}
	return container.Choice{Runtime: spec.Runtime}, nil
}

// Start begins to run nothing.
func (r *Runtime) Start(_ context.Context, spec container.Spec) (container.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.FailWith; err != nil {
		r.FailWith = nil
		return container.Status{}, err
	}
	if r.running[spec.ID] != nil {
		return container.Status{}, fmt.Errorf("start %s: %w", spec.ID, fault.Exists)
	}
	p := &process{done: make(chan struct{}), status: container.Status{
		ID: spec.ID, Phase: container.Running, PID: 4194000 + len(r.running), Started: time.Now(),
	}}
	r.running[spec.ID] = p
	r.Started[spec.ID] = spec
	return p.status, nil
}

// Exit ends a container with a code.
func (r *Runtime) Exit(id string, code int, oom bool) {
	r.mu.Lock()
	p := r.running[id]
	if p == nil || p.status.Phase == container.Exited {
		r.mu.Unlock()
		return
	}
	p.status.Phase, p.status.Code, p.status.OOM = container.Exited, code, oom
	p.status.PID, p.status.Finished = 0, time.Now()
	st, listeners := p.status, slices.Clone(r.exits)
	r.mu.Unlock()
	close(p.done)
	for _, ch := range listeners {
		ch <- container.Exit{Status: st}
	}
}

// Signals returns what was sent to a container, in order.
func (r *Runtime) Signals(id string) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.running[id]; p != nil {
		return slices.Clone(p.signals)
	}
	return nil
}

func (r *Runtime) find(id string) (*process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.running[id]
	if p == nil {
		return nil, fmt.Errorf("container %s: %w", id, fault.NotFound)
	}
	return p, nil
}

// Exec writes ExecText and then what it is given.
func (r *Runtime) Exec(ctx context.Context, id string, p *specs.Process, std container.Stdio) (int, error) {
	if _, err := r.find(id); err != nil {
		return 0, err
	}
	r.mu.Lock()
	r.Execs = append(r.Execs, p)
	text, code, wait := r.ExecText, r.ExecCode, r.ExecWait
	r.mu.Unlock()
	if wait {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if std.Stdout != nil {
		if _, err := io.WriteString(std.Stdout, text); err != nil {
			return 0, err
		}
	}
	if std.Stdin != nil && std.Stdout != nil {
		if _, err := io.Copy(std.Stdout, std.Stdin); err != nil {
			return 0, err
		}
	}
	return code, nil
}

// Attach writes "attached" and returns when the container ends.
func (r *Runtime) Attach(ctx context.Context, id string, std container.Stdio) error {
	p, err := r.find(id)
	if err != nil {
		return err
	}
	if std.Stdout != nil {
		if _, err := io.WriteString(std.Stdout, "attached\n"); err != nil {
			return err
		}
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Signal ends a container that does not ignore the signal.
func (r *Runtime) Signal(_ context.Context, id string, signal int, _ bool) error {
	p, err := r.find(id)
	if err != nil {
		return err
	}
	r.mu.Lock()
	p.signals = append(p.signals, signal)
	ignored := r.Ignore[signal]
	r.mu.Unlock()
	if !ignored {
		r.Exit(id, 128+signal, false)
	}
	return nil
}

// Wait returns when the container has ended.
func (r *Runtime) Wait(ctx context.Context, id string) (container.Status, error) {
	p, err := r.find(id)
	if err != nil {
		return container.Status{}, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return container.Status{}, ctx.Err()
	}
	return r.Status(ctx, id)
}

// Status tells how a container is.
func (r *Runtime) Status(_ context.Context, id string) (container.Status, error) {
	p, err := r.find(id)
	if err != nil {
		return container.Status{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return p.status, nil
}

// List tells of all containers.
func (r *Runtime) List(context.Context) ([]container.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []container.Status
	for _, p := range r.running {
		out = append(out, p.status)
	}
	return out, nil
}

// Exits delivers exits, those of before as well.
func (r *Runtime) Exits(ctx context.Context) (<-chan container.Exit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := make(chan container.Exit, 1024)
	for _, p := range r.running {
		if p.status.Phase == container.Exited {
			ch <- container.Exit{Status: p.status}
		}
	}
	r.exits = append(r.exits, ch)
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.exits = slices.DeleteFunc(r.exits, func(c chan container.Exit) bool { return c == ch })
		close(ch)
	})
	return ch, nil
}

// Delete forgets a container.
func (r *Runtime) Delete(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, id)
	return nil
}

// Update notes the limits.
func (r *Runtime) Update(_ context.Context, id string, res *specs.LinuxResources) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Updates[id] = res
	return nil
}

// ReopenLog notes the container.
func (r *Runtime) ReopenLog(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Reopened = append(r.Reopened, id)
	return nil
}

// Stats tells of a second of processor time and a MiB of memory.
func (r *Runtime) Stats(_ context.Context, id string) (container.Stats, error) {
	if _, err := r.find(id); err != nil {
		return container.Stats{}, err
	}
	return container.Stats{Time: time.Now(), CPU: time.Second, Memory: 1 << 20, WorkingSet: 1 << 19, PIDs: 1}, nil
}

// Namespaces returns paths that exist.
func (r *Runtime) Namespaces(_ context.Context, pod string, want container.NamespaceRequest) (container.Namespaces, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ns container.Namespaces
	if len(want.UIDs) > 0 {
		ns.User = "/proc/self/ns/user"
	}
	if want.Net {
		ns.Net = "/proc/self/ns/net"
	}
	if want.IPC {
		ns.IPC = "/proc/self/ns/ipc"
	}
	if want.UTS {
		ns.UTS = "/proc/self/ns/uts"
	}
	r.spaces[pod] = ns
	return ns, nil
}

// ReleaseNamespaces forgets them.
func (r *Runtime) ReleaseNamespaces(_ context.Context, pod string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.spaces, pod)
	return nil
}

// UserNamespaces says that there are.
func (r *Runtime) UserNamespaces(string) error { return nil }

// Left tells what was not given back: containers and pods' namespaces.
func (r *Runtime) Left() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(slices.Sorted(maps.Keys(r.running)), slices.Sorted(maps.Keys(r.spaces))...)
}
