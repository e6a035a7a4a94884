package engine

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// gate bounds how many steps in making pods and containers are done at once.
// More would not be faster: they wait for processors and for the kernel's locks,
// and each that waits there holds a thread and its memory.
//
// Of those who wait, what has begun is finished before other things begin: of
// fifty pods asked for at once the first runs when a fiftieth of the work is
// done, where in the order of asking all would run at its end. So that nobody
// waits for ever, one turn in several is that of whoever has waited longest.
// What may take long, as unpacking an image, is not done inside.
type gate struct {
	mu      sync.Mutex
	free    int
	turns   int // since the one that waited longest was let in
	asked   int // how many have had to wait, which numbers them
	waiting [steps][]*waiter
}

// step is how far a pod has come. Later ones go first.
type step int

const (
	makingPod step = iota
	makingContainer
	startingContainer
	steps
)

// longestWaiter is how often it is the turn of whoever has waited longest.
const longestWaiter = 32

type waiter struct {
	number int
	turn   chan struct{} // closed when it has come
}

// newGate lets n through at once; zero is what the machine's processors bear.
func newGate(n int) *gate {
	if n == 0 {
		n = max(4, runtime.NumCPU())
	}
	return &gate{free: n}
}

// do runs f when it is its turn.
func (g *gate) do(ctx context.Context, s step, f func() error) error {
	if err := g.enter(ctx, s); err != nil {
		return err
	}
	defer g.leave()
	return f()
}

func (g *gate) enter(ctx context.Context, s step) error {
	g.mu.Lock()
	if g.free > 0 { // then nobody waits
		g.free--
		g.mu.Unlock()
		return nil
	}
	g.asked++
	w := &waiter{number: g.asked, turn: make(chan struct{})}
	g.waiting[s] = append(g.waiting[s], w)
	g.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	i := slices.Index(g.waiting[s], w)
	if i >= 0 {
		g.waiting[s] = slices.Delete(g.waiting[s], i, i+1)
	}
	g.mu.Unlock()
	if i < 0 { // its turn came just now
		g.leave()
	}
	return ctx.Err()
}

// leave hands the caller's place on.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	next, oldest := -1, -1
	for s, w := range g.waiting {
		if len(w) == 0 {
			continue
		}
		next = s
		if oldest < 0 || w[0].number < g.waiting[oldest][0].number {
			oldest = s
		}
	}
	if next < 0 {
		g.free++
		return
	}
	if g.turns++; g.turns == longestWaiter {
		g.turns, next = 0, oldest
	}
	close(g.waiting[next][0].turn)
	g.waiting[next] = slices.Delete(g.waiting[next], 0, 1)
}
