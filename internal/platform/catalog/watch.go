package catalog

import (
	"maps"
	"slices"
	"sync"
)

// watches tells those who watch which services have changed. What they have not
// yet asked for is kept once, however often it changes.
type watches struct {
	mu  sync.Mutex
	all map[*Watch]bool
}

// Watch is one who watches a namespace, or all.
type Watch struct {
	// Changed has a value when Take has something.
	Changed chan struct{}

	ended     <-chan struct{}
	from      *watches
	namespace string
	dirty     map[Ref]bool // under from.mu
}

// Watch begins to watch a namespace, or all when it is empty. Services that are
// there already are no change. Close must be called.
func (s *Store) Watch(namespace string) *Watch {
	w := &Watch{Changed: make(chan struct{}, 1), ended: s.closed, from: &s.watches, namespace: namespace, dirty: map[Ref]bool{}}
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	if s.watches.all == nil {
		s.watches.all = map[*Watch]bool{}
	}
	s.watches.all[w] = true
	return w
}

// Take returns the services that have changed since the last time.
func (w *Watch) Take() []Ref {
	w.from.mu.Lock()
	defer w.from.mu.Unlock()
	out := slices.Collect(maps.Keys(w.dirty))
	clear(w.dirty)
	return out
}

// Ended is closed when nothing is told any more.
func (w *Watch) Ended() <-chan struct{} { return w.ended }

// Close ends it.
func (w *Watch) Close() {
	w.from.mu.Lock()
	defer w.from.mu.Unlock()
	delete(w.from.all, w)
}

func (ws *watches) notify(ref Ref) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		if w.namespace != "" && w.namespace != ref.Namespace {
			continue
		}
		w.dirty[ref.service()] = true
		select {
		case w.Changed <- struct{}{}:
		default:
		}
	}
}
