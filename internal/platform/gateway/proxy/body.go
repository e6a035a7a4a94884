package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

func tooLarge(err error) bool {
	var e *http.MaxBytesError
	return errors.As(err, &e)
}

// keptOpen keeps a request's body for the next attempt: a transport closes what
// it could not send.
type keptOpen struct{ io.ReadCloser }

func (keptOpen) Close() error { return nil }

// whenClosed calls done when body is closed, once. The body of an upgraded
// connection can be written to as well.
func whenClosed(body io.ReadCloser, done func()) io.ReadCloser {
	c := &closing{ReadCloser: body, done: done}
	if w, ok := body.(io.Writer); ok {
		return closingBoth{c, w}
	}
	return c
}

type closing struct {
	io.ReadCloser
	done   func()
	closed atomic.Bool
}

func (c *closing) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		defer c.done()
	}
	return c.ReadCloser.Close()
}

type closingBoth struct {
	*closing
	w io.Writer
}

func (c closingBoth) Write(b []byte) (int, error) { return c.w.Write(b) }

// buffers are what bodies are copied through.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}
}

func (b *buffers) Get() []byte  { return *b.pool.Get().(*[]byte) }
func (b *buffers) Put(s []byte) { b.pool.Put(&s) }
