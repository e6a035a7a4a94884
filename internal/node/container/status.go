package container

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// Status tells what the keeper knows of a container.
func (r *Runtime) Status(_ context.Context, id string) (Status, error) {
	u, err := r.known(id)
	if err != nil {
		return Status{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return statusOf(u.status), nil
}

// List tells of all containers. Ended ones stay known until Delete.
func (r *Runtime) List(context.Context) ([]Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Status, 0, len(r.units))
	for _, u := range r.units {
		u.mu.Lock()
		if !u.starting {
			all = append(all, statusOf(u.status))
		}
		u.mu.Unlock()
	}
	return all, nil
}

// Wait returns once the container has ended and its output is written.
func (r *Runtime) Wait(ctx context.Context, id string) (Status, error) {
	u, err := r.known(id)
	if err != nil {
		return Status{}, err
	}
	select {
	case <-u.exited:
		return r.Status(ctx, id)
	case <-ctx.Done():
		return Status{}, fmt.Errorf("wait for container %s: %w", id, ctx.Err())
	}
}

// A listener receives exits in order. Its queue has no limit: an exit must not
// wait for somebody else's slow reader.
type listener struct {
	mu    sync.Mutex
	queue []Exit
	more  chan struct{}
}

// Exits delivers every exit, also of containers that ended before and are not
// deleted yet. It is closed when ctx ends.
func (r *Runtime) Exits(ctx context.Context) (<-chan Exit, error) {
	l := &listener{more: make(chan struct{}, 1)}
	r.mu.Lock()
	for _, u := range r.units {
		u.mu.Lock()
		if u.status.Exited {
			l.queue = append(l.queue, Exit{statusOf(u.status)})
		}
		u.mu.Unlock()
	}
	r.listeners[l] = true
	r.mu.Unlock()
	l.wake()
	exits := make(chan Exit)
	r.work.Go(func() {
		defer close(exits)
		defer func() {
			r.mu.Lock()
			delete(r.listeners, l)
			r.mu.Unlock()
		}()
		l.deliver(ctx, exits)
	})
	return exits, nil
}

func (l *listener) add(e Exit) {
	l.mu.Lock()
	l.queue = append(l.queue, e)
	l.mu.Unlock()
	l.wake()
}

func (l *listener) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *listener) deliver(ctx context.Context, exits chan<- Exit) {
	for {
		l.mu.Lock()
		queue := l.queue
		l.queue = nil
		l.mu.Unlock()
		for _, e := range queue {
			select {
			case exits <- e:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-l.more:
		case <-ctx.Done():
			return
		}
	}
}

// event takes what the keeper tells unasked.
func (r *Runtime) event(m wire.Message) {
	switch m.Call { // others are a newer keeper's
	case wire.EventExit:
		var st wire.Status
		if err := json.Unmarshal(m.Body, &st); err != nil {
			r.log.Error("keeper tells of an exit in an unknown form", "err", err)
			return
		}
		r.learn(st)
	case wire.EventLog:
		var t wire.LogTrouble
		if err := json.Unmarshal(m.Body, &t); err != nil {
			r.log.Error("keeper tells of a log in an unknown form", "err", err)
			return
		}
		log := r.log.With("container", t.ID, "file", t.Path)
		if t.Err != "" {
			log.Warn("a container's log cannot be written, it goes on without", "err", t.Err)
		} else {
			log.Warn("a container's log goes on", "lost", t.Lost)
		}
	}
}

// learn takes over a status. An end is final, whatever comes after it.
func (r *Runtime) learn(st wire.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.units[st.ID]
	if u == nil {
		// Deleted meanwhile.
		return
	}
	u.mu.Lock()
	if u.status.Exited {
		u.mu.Unlock()
		return
	}
	u.status = st
	u.mu.Unlock()
	if !st.Exited {
		return
	}
	u.letGo()
	close(u.exited)
	for l := range r.listeners {
		l.add(Exit{statusOf(st)})
	}
}

// reserve takes an ID for a container that is about to start.
func (r *Runtime) reserve(id string) (*unit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.units[id] != nil {
		return nil, fmt.Errorf("id: %w", fault.Exists)
	}
	u := newUnit(id)
	u.starting = true
	r.units[id] = u
	return u, nil
}

// unit returns what is known of a container, made if missing and wanted.
func (r *Runtime) unit(id string, make bool) *unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.units[id]
	if u == nil && make {
		u = newUnit(id)
		r.units[id] = u
	}
	return u
}

func (r *Runtime) known(id string) (*unit, error) {
	u := r.unit(id, false)
	if u == nil {
		return nil, fmt.Errorf("container %s: %w", id, fault.NotFound)
	}
	return u, nil
}

// running is known, and refuses a container that has ended.
func (r *Runtime) running(id string) (*unit, error) {
	u, err := r.known(id)
	if err != nil {
		return nil, err
	}
	select {
	case <-u.exited:
		return nil, fmt.Errorf("container %s has ended: %w", id, fault.Precondition)
	default:
		return u, nil
	}
}

func (r *Runtime) forget(u *unit) {
	u.letGo()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.units[u.id] == u {
		delete(r.units, u.id)
	}
}

func statusOf(st wire.Status) Status {
	s := Status{
		ID: st.ID, Phase: Running, PID: st.PID, Started: st.Started, Finished: st.Finished,
		Code: st.Code, OOM: st.OOM, Reason: st.Reason, Runtime: st.Runtime,
	}
	if st.Exited {
		s.Phase = Exited
	}
	return s
}
