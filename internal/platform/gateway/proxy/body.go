package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

func tooLarge(err error) bool {
	var e *http.MaxBytesError
	return errors.As(err, &e)
}

// keptOpen keeps a request's body for the next attempt: a transport closes what
// it could not send.
type keptOpen struct{ io.ReadCloser }

func (keptOpen) Close() error { return nil }

// whenClosed calls f once when body is closed. The body of an upgraded
// connection can be written to as well.
func whenClosed(body io.ReadCloser, f func()) io.ReadCloser {
	c := closing{body, sync.OnceFunc(f)}
	if rw, ok := body.(io.ReadWriteCloser); ok {
		return closingBoth{c, rw}
	}
	return c
}

type closing struct {
	io.ReadCloser
	done func()
}

func (c closing) Close() error {
	defer c.done()
	return c.ReadCloser.Close()
}

type closingBoth struct {
	closing
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
