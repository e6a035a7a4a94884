package image

import (
	"sync"

	"github.com/opencontainers/go-digest"
)

// holds are the blobs that something under way needs: a pull, a push, an
// unpacking. They live in memory, because what is under way ends with the
// process.
type holds struct {
	mu    sync.Mutex
	count map[digest.Digest]int
}

// A hold belongs to one piece of work. It may be extended from many goroutines.
type hold struct {
	all *holds

	mu   sync.Mutex
	mine []digest.Digest
}

func (h *holds) begin() *hold { return &hold{all: h} }

// add protects blobs until release. A blob must be added before one looks
// whether it is there.
func (h *hold) add(digests ...digest.Digest) {
	h.all.mu.Lock()
	if h.all.count == nil {
		h.all.count = map[digest.Digest]int{}
	}
	for _, d := range digests {
		h.all.count[d]++
	}
	h.all.mu.Unlock()
	h.mu.Lock()
	h.mine = append(h.mine, digests...)
	h.mu.Unlock()
}

// release ends the protection. It may be called more than once.
func (h *hold) release() {
	h.mu.Lock()
	mine := h.mine
	h.mine = nil
	h.mu.Unlock()
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	for _, d := range mine {
		if h.all.count[d]--; h.all.count[d] == 0 {
			delete(h.all.count, d)
		}
	}
}

// unlessHeld calls f, with nobody able to begin a hold on d meanwhile, unless d
// is held.
func (h *holds) unlessHeld(d digest.Digest, f func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count[d] > 0 {
		return nil
	}
	return f()
}
