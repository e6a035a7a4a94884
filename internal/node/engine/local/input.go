package local

import (
	"context"
	"io"
	"slices"
	"sync"
)

// input is what a client types, on its way to a process. A process that does
// not read holds up the client, as a terminal does, but not its signals for
// longer than one frame.
type input struct {
	data chan []byte
	done chan struct{}
	once sync.Once
	rest []byte
}

func newInput() *input { return &input{data: make(chan []byte), done: make(chan struct{})} }

// put hands p on; it copies p. After end it does nothing.
func (i *input) put(ctx context.Context, p []byte) {
	select {
	case i.data <- slices.Clone(p):
	case <-i.done:
	case <-ctx.Done():
	}
}

// end makes Read return io.EOF. It may be repeated.
func (i *input) end() { i.once.Do(func() { close(i.done) }) }

// Read is for one reader.
func (i *input) Read(p []byte) (int, error) {
	if len(i.rest) == 0 {
		select {
		case i.rest = <-i.data:
		case <-i.done:
			return 0, io.EOF
		}
	}
	n := copy(p, i.rest)
	i.rest = i.rest[n:]
	return n, nil
}
