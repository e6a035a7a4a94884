package registry

import (
	"sync"
	"time"

	"github.com/sampan-cloud/sampan/internal/node/image"
)

// How many uploads stay open between two requests, and for how long.
const (
	parkedAtOnce = 64
	parkedFor    = time.Minute
)

// parked are uploads between two requests. Opening one again means to read all
// that has arrived, for its digest; with many chunks that would be most of the
// work. An upload that is not here is opened from the disk.
type parked struct {
	mu      sync.Mutex
	closed  bool
	writers map[string]*waiting
}

// waiting is an upload with the timer that closes it.
type waiting struct {
	*image.Writer
	timer *time.Timer
}

// put leaves an upload for the next request, or closes it.
func (p *parked) put(w *image.Writer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.writers) >= parkedAtOnce {
		return w.Close()
	}
	if p.writers == nil {
		p.writers = make(map[string]*waiting)
	}
	id := w.ID()
	p.writers[id] = &waiting{w, time.AfterFunc(parkedFor, func() {
		if w := p.take(id); w != nil {
			w.Close() // what was written is written; there is nobody to tell
		}
	})}
	return nil
}

// take returns an upload that was put, or nil.
func (p *parked) take(id string) *image.Writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.writers[id]
	if !ok {
		return nil
	}
	w.timer.Stop()
	delete(p.writers, id)
	return w.Writer
}

// close closes all, and those that are still put.
func (p *parked) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for id, w := range p.writers {
		w.timer.Stop()
		w.Close()
		delete(p.writers, id)
	}
}
