// Package run starts services in order, waits until each is ready, and stops
// them in reverse.
//
// A service is everything long-lived: it does its work in Run, says once when
// it can be used, and returns only after its own goroutines. A service that
// returns by itself has failed: the group then stops all of them and says which
// it was.
package run

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Service runs until ctx ends or it fails. It calls ready once, as soon as
// those that start after it may rely on it.
type Service interface {
	Run(ctx context.Context, ready func()) error
}

// Func makes a function a Service.
type Func func(ctx context.Context, ready func()) error

// Run calls f.
func (f Func) Run(ctx context.Context, ready func()) error { return f(ctx, ready) }

// A Part is a service with its name and its limits.
type Part struct {
	Name    string
	Service Service
	Start   time.Duration // how long it may take to be ready; zero is a minute
	Stop    time.Duration // how long it may take to return; zero is ten seconds
}

// An Event says that a part has begun to start, is ready, or has stopped.
type Event struct {
	Part  string
	State State
	Took  time.Duration // since the part began to start or to stop
	Err   error         // with Stopped: what it returned
}

// State is how far a part is.
type State string

// The states of a part.
const (
	Starting State = "starting"
	Ready    State = "ready"
	Stopped  State = "stopped"
)

// Group runs parts together. Notify, when set, is called for each event, from
// one goroutine at a time.
type Group struct {
	Parts  []Part
	Notify func(Event)
}

// running is a part whose service has been started.
type running struct {
	Part
	cancel context.CancelFunc
	done   chan struct{} // closed after the service has returned err
	err    error
}

// Run starts the parts in order, each after the one before it is ready, calls
// ready, and waits. When ctx ends it stops them in reverse order and returns
// nil; when a part fails it stops the others and returns that failure, with the
// part's name in front. A part that does not return in time is named too.
func (g *Group) Run(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan *running, len(g.Parts)) // each part reports at most once
	var up []*running
	var cause error
	for _, p := range g.Parts {
		r, err := g.start(ctx, p, failed)
		if r != nil {
			up = append(up, r)
		}
		if err != nil {
			cause = err
			break
		}
	}
	if cause == nil && ctx.Err() == nil {
		ready()
		select {
		case <-ctx.Done():
		case r := <-failed:
			cause = r.failure()
		}
	}
	return errors.Join(cause, g.stop(up))
}

// start runs p and waits until it is ready. It returns nil and no error when
// ctx ended first: that is no failure of p.
func (g *Group) start(ctx context.Context, p Part, failed chan<- *running) (*running, error) {
	if ctx.Err() != nil {
		return nil, nil
	}
	began := time.Now()
	g.notify(Event{Part: p.Name, State: Starting})
	// The parts outlive ctx: they are stopped one by one, in reverse.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{Part: p, cancel: cancel, done: make(chan struct{})}
	isReady := make(chan struct{}, 1)
	go func() {
		r.err = p.Service.Run(own, func() {
			select {
			case isReady <- struct{}{}:
			default:
			}
		})
		close(r.done)
		if own.Err() == nil {
			failed <- r
		}
	}()
	limit := time.NewTimer(orElse(p.Start, time.Minute))
	defer limit.Stop()
	select {
	case <-isReady:
		g.notify(Event{Part: p.Name, State: Ready, Took: time.Since(began)})
		return r, nil
	case <-r.done:
		return r, r.failure()
	case <-limit.C:
		return r, fmt.Errorf("%s: not ready after %s", p.Name, orElse(p.Start, time.Minute))
	case <-ctx.Done():
		return r, nil
	}
}

// stop ends the parts in reverse order, each within its limit.
func (g *Group) stop(up []*running) error {
	var errs []error
	for i := len(up) - 1; i >= 0; i-- {
		r, began := up[i], time.Now()
		r.cancel()
		limit := time.NewTimer(orElse(r.Stop, 10*time.Second))
		select {
		case <-r.done:
			g.notify(Event{Part: r.Name, State: Stopped, Took: time.Since(began), Err: r.err})
		case <-limit.C:
			errs = append(errs, fmt.Errorf("%s: still running %s after it was told to stop", r.Name, orElse(r.Stop, 10*time.Second)))
		}
		limit.Stop()
	}
	return errors.Join(errs...)
}

func (r *running) failure() error {
	if r.err == nil {
		return fmt.Errorf("%s: ended by itself", r.Name)
	}
	return fmt.Errorf("%s: %w", r.Name, r.err)
}

func (g *Group) notify(e Event) {
	if g.Notify != nil {
		g.Notify(e)
	}
}

func orElse(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}
