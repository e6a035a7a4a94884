package upstream

import (
	"net"
	"sync"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/tcp"
)

const (
	maxIdle   = 512              // connections of one endpoint that are kept
	keepIdle  = 60 * time.Second // how long one is
	dialLimit = 3 * time.Second
)

// conns are connections that have nothing to do, the one used last at the end:
// it is the least likely to have been closed by the other side, and those that
// were one too many grow old at the beginning.
type conns struct {
	mu       sync.Mutex
	idle     []idleConn
	sweeping bool
}

type idleConn struct {
	*tcp.Conn
	since time.Time
}

// Take returns a connection that had nothing to do, or nil. The other side may
// have closed it.
func (e *Endpoint) Take() *tcp.Conn {
	e.conns.mu.Lock()
	defer e.conns.mu.Unlock()
	last := len(e.conns.idle) - 1
	if last < 0 {
		return nil
	}
	c := e.conns.idle[last].Conn
	e.conns.idle[last] = idleConn{}
	e.conns.idle = e.conns.idle[:last]
	return c
}

// Dial makes a connection.
func (e *Endpoint) Dial() (*tcp.Conn, error) {
	c, err := net.DialTimeout("tcp", e.Addr, dialLimit)
	if err != nil {
		return nil, err
	}
	return tcp.New(c.(*net.TCPConn))
}

// Keep keeps a connection for the next request. now is about now.
func (e *Endpoint) Keep(c *tcp.Conn, now time.Time) {
	e.conns.mu.Lock()
	full := len(e.conns.idle) >= maxIdle || e.retired.Load()
	if !full {
		e.conns.idle = append(e.conns.idle, idleConn{c, now})
		if !e.conns.sweeping {
			e.conns.sweeping = true
			time.AfterFunc(keepIdle, e.sweep)
		}
	}
	e.conns.mu.Unlock()
	if full {
		c.Close()
	}
}

// sweep closes what has not been used for long, and comes again while there is
// anything left.
func (e *Endpoint) sweep() {
	e.conns.mu.Lock()
	n, old := 0, time.Now().Add(-keepIdle)
	for n < len(e.conns.idle) && e.conns.idle[n].since.Before(old) {
		n++
	}
	closing := append([]idleConn(nil), e.conns.idle[:n]...)
	e.conns.idle = append([]idleConn(nil), e.conns.idle[n:]...)
	e.conns.sweeping = len(e.conns.idle) > 0
	if e.conns.sweeping {
		time.AfterFunc(keepIdle/2, e.sweep)
	}
	e.conns.mu.Unlock()
	for _, c := range closing {
		c.Close()
	}
}

// closeIdle closes all that have nothing to do.
func (e *Endpoint) closeIdle() {
	e.conns.mu.Lock()
	closing := e.conns.idle
	e.conns.idle = nil
	e.conns.mu.Unlock()
	for _, c := range closing {
		c.Close()
	}
	e.transport.CloseIdleConnections()
}
