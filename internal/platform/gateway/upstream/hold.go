package upstream

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Why a request gets no endpoint.
var (
	ErrNoEndpoints = errors.New("no endpoint is ready")
	ErrTooManyHeld = errors.New("too many requests wait for it to start")
	ErrNotStarted  = errors.New("it did not start in time")
)

// Waker asks for an App of a namespace to be started. It returns at once and
// may be called for each of a thousand requests.
type Waker interface {
	Wake(namespace, app string)
}

// HoldConfig limits how long and how many requests wait for an App to start.
type HoldConfig struct {
	Max   int           // of all Services together
	Limit time.Duration // how long one waits
	Again time.Duration // how often the App is asked for while requests wait
}

// Hold keeps requests while what they are for starts.
type Hold struct {
	cfg   HoldConfig
	waker Waker
	held  atomic.Int64

	mu    sync.Mutex
	waits map[string]*waits // by NAMESPACE/APP
}

// waits are the requests for one App.
type waits struct {
	requests int
	asked    time.Time
}

// NewHold returns a Hold that wakes Apps by waker.
func NewHold(cfg HoldConfig, waker Waker) *Hold {
	return &Hold{cfg: cfg, waker: waker, waits: map[string]*waits{}}
}

// Held is how many requests wait.
func (h *Hold) Held() int64 { return h.held.Load() }

// Wait returns when p has an endpoint. A Service that belongs to no App cannot
// be woken and fails at once.
func (h *Hold) Wait(ctx context.Context, p *Port) error {
	app := p.Service.App()
	if app == "" {
		return ErrNoEndpoints
	}
	defer h.held.Add(-1)
	if h.held.Add(1) > int64(h.cfg.Max) {
		return ErrTooManyHeld
	}
	p.Service.Stats.Held.Add(1)
	defer p.Service.Stats.Held.Add(-1)
	namespace, _, _ := strings.Cut(p.Service.Key, "/")
	defer h.join(namespace, app)()
	limit := time.NewTimer(h.cfg.Limit)
	defer limit.Stop()
	// The order to start may be lost with the one who was to carry it out.
	again := time.NewTicker(h.cfg.Again)
	defer again.Stop()
	for {
		changed := p.Changed()
		if len(p.Endpoints()) > 0 {
			return nil
		}
		h.ask(namespace, app)
		knock := knocking(p)
		select {
		case <-changed:
		case <-knock:
			knockAll(ctx, p)
		case <-again.C:
		case <-limit.C:
			return ErrNotStarted
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A copy that is starting is asked this often whether it takes connections. The
// cluster asks once a second, which is most of what a start would take.
const (
	knockEvery = 5 * time.Millisecond
	knockLimit = 100 * time.Millisecond
)

// knocking returns a channel that brings the next moment to ask, or none where
// there is nobody to ask.
func knocking(p *Port) <-chan time.Time {
	if len(p.Starting()) == 0 {
		return nil
	}
	return time.After(knockEvery)
}

// knockAll asks the copies that are starting whether they take connections, on
// behalf of all requests that wait.
func knockAll(ctx context.Context, p *Port) {
	if !p.knocking.CompareAndSwap(false, true) {
		return
	}
	defer p.knocking.Store(false)
	d := net.Dialer{Timeout: knockLimit}
	for _, addr := range p.Starting() {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			continue
		}
		conn.Close()
		p.Listens(addr)
		return
	}
}

// join counts a request that waits for an App, until what it returns is called.
func (h *Hold) join(namespace, app string) (leave func()) {
	key := namespace + "/" + app
	h.mu.Lock()
	defer h.mu.Unlock()
	w, ok := h.waits[key]
	if !ok {
		w = &waits{}
		h.waits[key] = w
	}
	w.requests++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if w.requests--; w.requests == 0 {
			delete(h.waits, key)
		}
	}
}

// ask wakes an App, once for all requests of a moment.
func (h *Hold) ask(namespace, app string) {
	now := time.Now()
	h.mu.Lock()
	w := h.waits[namespace+"/"+app]
	recently := now.Sub(w.asked) < h.cfg.Again/2
	if !recently {
		w.asked = now
	}
	h.mu.Unlock()
	if !recently {
		h.waker.Wake(namespace, app)
	}
}
