package image

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"
)

// flights are the downloads under way: two pulls that want the same blob share
// one.
type flights struct {
	mu  sync.Mutex
	all map[digest.Digest]*flight
}

// A flight is one download. It goes on as long as anybody waits for it.
type flight struct {
	cancel context.CancelFunc
	done   chan struct{} // closed after err is set
	err    error

	waiting int // guarded by flights.mu

	mu       sync.Mutex
	watchers []func(done int64)
}

// do runs fetch for d, or joins the one that runs, and tells whether it was its
// own. watch is called with the bytes that have arrived.
func (f *flights) do(ctx context.Context, d digest.Digest, watch func(int64), fetch func(context.Context, func(int64)) error) (own bool, err error) {
	fl, own := f.join(ctx, d, watch, fetch)
	select {
	case <-fl.done:
		return own, fl.err
	case <-ctx.Done():
		f.leave(fl)
		return own, context.Cause(ctx)
	}
}

// join enters the flight for d, or starts it.
func (f *flights) join(ctx context.Context, d digest.Digest, watch func(int64), fetch func(context.Context, func(int64)) error) (fl *flight, own bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.all[d] != nil && f.all[d].waiting == 0 {
		ending := f.all[d] // it was left by all and is about to end
		f.mu.Unlock()
		<-ending.done
		f.mu.Lock()
	}
	if fl = f.all[d]; fl == nil {
		fl, own = f.start(ctx, d, fetch), true
	}
	fl.waiting++
	fl.mu.Lock()
	fl.watchers = append(fl.watchers, watch)
	fl.mu.Unlock()
	return fl, own
}

// leave gives up waiting. The last one ends the flight.
func (f *flights) leave(fl *flight) {
	f.mu.Lock()
	fl.waiting--
	last := fl.waiting == 0
	f.mu.Unlock()
	if last {
		fl.cancel()
		<-fl.done
	}
}

// start begins a flight. Whoever leaves last ends it and waits for its goroutine,
// so it must not end with the first one's context.
func (f *flights) start(ctx context.Context, d digest.Digest, fetch func(context.Context, func(int64)) error) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fl := &flight{cancel: cancel, done: make(chan struct{})}
	if f.all == nil {
		f.all = map[digest.Digest]*flight{}
	}
	f.all[d] = fl
	go func() {
		defer cancel()
		fl.err = fetch(ctx, fl.tell)
		f.mu.Lock()
		delete(f.all, d)
		f.mu.Unlock()
		close(fl.done)
	}()
	return fl
}

// tell passes progress to everybody who waits.
func (fl *flight) tell(done int64) {
	fl.mu.Lock()
	watchers := fl.watchers
	fl.mu.Unlock()
	for _, watch := range watchers {
		watch(done)
	}
}
