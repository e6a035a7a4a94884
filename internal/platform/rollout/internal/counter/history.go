package counter

import (
	"sync"
	"time"
)

// History keeps the snapshots of the last second, and the last minutes of what
// somebody watches: an app that is not being shipped costs a few numbers. It is
// safe for concurrent use.
type History struct {
	mu      sync.Mutex
	recent  []Snapshot // the oldest first
	err     error      // of the last attempt to read
	seen    bool
	watched map[string]*track
}

// track is the history of one backend since somebody watches it.
type track struct {
	first   sample
	samples []sample // the oldest first
}

type sample struct {
	at time.Time
	b  Backend
}

// keep is how much of a watched backend's past is kept, and present how much
// time a rate of the present covers: over less it would be noise.
const (
	keep    = 3 * time.Minute
	present = time.Second
)

// NewHistory is an empty history.
func NewHistory() *History { return &History{watched: map[string]*track{}} }

// Add takes the next snapshot, or why there is none.
func (h *History) Add(s Snapshot, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; err != nil {
		return
	}
	h.seen = h.seen || len(s.Backends) > 0
	h.recent = append(h.recent, s)
	for len(h.recent) > 2 && s.Time.Sub(h.recent[1].Time) >= present {
		h.recent[0] = Snapshot{}
		h.recent = h.recent[1:]
	}
	for key, t := range h.watched {
		t.add(sample{s.Time, s.Backends[key]})
	}
}

func (t *track) add(s sample) {
	if len(t.samples) == 0 {
		t.first = s
	}
	t.samples = append(t.samples, s)
	for len(t.samples) > 2 && s.at.Sub(t.samples[1].at) > keep {
		t.samples = t.samples[1:]
	}
}

// Watch begins to keep the history of a backend, and may be repeated.
func (h *History) Watch(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watched[key] != nil {
		return
	}
	t := &track{}
	if n := len(h.recent); n > 0 {
		t.add(sample{h.recent[n-1].Time, h.recent[n-1].Backends[key]})
	}
	h.watched[key] = t
}

// Forget ends Watch.
func (h *History) Forget(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watched, key)
}

// Err says why the counters could not be read the last time.
func (h *History) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Known says whether two snapshots are there and the last attempt succeeded.
func (h *History) Known() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err == nil && len(h.recent) > 1
}

// Seen says whether a gateway has ever told of a Service: it answers by then,
// and knows the routes.
func (h *History) Seen() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// Now is what a backend did in the last second.
func (h *History) Now(key string) Span {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.recent) == 0 {
		return Span{}
	}
	first, last := h.recent[0], h.recent[len(h.recent)-1]
	if len(h.recent) == 1 {
		first = Snapshot{Time: last.Time}
	}
	return Between(first.Backends[key], last.Backends[key], last.Time.Sub(first.Time))
}

// Sum is what several backends did in the last second.
func (h *History) Sum(keys ...string) Span {
	var sum Span
	for _, key := range keys {
		one := h.Now(key)
		sum.Took = one.Took
		sum.InFlight += one.InFlight
		sum.Held += one.Held
		sum.Requests += one.Requests
		sum.Failures += one.Failures
		sum.Latency = Backend{Latency: sum.Latency}.Add(Backend{Latency: one.Latency}).Latency
	}
	return sum
}

// Last is what a watched backend did within the last d, and since it has been
// watched.
func (h *History) Last(key string, d time.Duration) (window, all Span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.watched[key]
	if t == nil || len(t.samples) == 0 {
		return Span{}, Span{}
	}
	end := t.samples[len(t.samples)-1]
	start := end
	for i := len(t.samples) - 1; i >= 0 && end.at.Sub(t.samples[i].at) <= d; i-- {
		start = t.samples[i]
	}
	return Between(start.b, end.b, end.at.Sub(start.at)), Between(t.first.b, end.b, end.at.Sub(t.first.at))
}
