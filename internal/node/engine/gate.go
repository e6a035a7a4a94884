package engine

import (
	"context"
	"runtime"
)

// gate bounds how many pods and containers are being made at once. More would
// not be faster: they wait for processors and for the kernel's locks, and each
// that waits there holds a thread and its memory.
type gate chan struct{}

// newGate lets n through at once; zero is what the machine's processors bear.
func newGate(n int) gate {
	if n == 0 {
		n = max(4, runtime.NumCPU()*3/2)
	}
	return make(gate, n)
}

// do runs f when it is its turn.
func (g gate) do(ctx context.Context, f func() error) error {
	select {
	case g <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g }()
	return f()
}
