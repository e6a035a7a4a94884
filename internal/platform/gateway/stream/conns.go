package stream

import (
	"context"
	"net"
	"sync"
)

// conns are the connections under way.
type conns struct {
	mu     sync.Mutex
	open   map[net.Conn]context.CancelFunc
	closed bool
}

// begin counts a connection until end is called. ctx ends with it, or when it is
// to be given up.
func (c *conns) begin(conn net.Conn) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cancel()
		_ = conn.Close()
	}
	c.open[conn] = cancel
	return ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, conn)
		cancel()
	}
}

// closeAll gives up those that are left, and those that come after.
func (c *conns) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn, cancel := range c.open {
		cancel()
		_ = conn.Close()
	}
}
