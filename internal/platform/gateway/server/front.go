package server

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/proxy"
)

// fronts accept connections before Caddy does and answer what is plain. To Caddy
// each is the listener of its port, from which come only those connections that
// are left to it.
type fronts struct {
	mu     sync.Mutex
	byPort map[int]*front // the one in use
	lines  map[*proxy.Line]struct{}
	parts  sync.WaitGroup // goroutines that accept, and those that answer
}

// front is the listener of a port.
type front struct {
	net.Listener
	server *Server
	port   int
	left   chan net.Conn // to Caddy
	closed chan struct{}
	once   sync.Once
}

// front wraps the listener of a port.
func (s *Server) front(port int, l net.Listener) net.Listener {
	f := &front{Listener: l, server: s, port: port, left: make(chan net.Conn), closed: make(chan struct{})}
	s.fronts.mu.Lock()
	defer s.fronts.mu.Unlock()
	s.fronts.byPort[port] = f
	s.fronts.parts.Go(f.run)
	return f
}

// Accept returns a connection that is left to Caddy. It does so until Close,
// even after the listener below has been closed, since connections that are open
// by then may still be left to it.
func (f *front) Accept() (net.Conn, error) {
	select {
	case c := <-f.left:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections that are open stay.
func (f *front) Close() error {
	f.once.Do(func() { close(f.closed) })
	if err := f.Listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil // it was closed when the draining began
}

// run accepts connections until there are no more.
func (f *front) run() {
	const longest = time.Second
	pause := 5 * time.Millisecond
	for {
		c, err := f.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// As net/http has it: there may be descriptors again in a moment.
			f.server.log.Warn("accept", "port", f.port, "err", err)
			select {
			case <-f.closed:
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, longest)
			continue
		}
		pause = 5 * time.Millisecond
		f.server.fronts.parts.Go(func() { f.server.attend(f.port, c) })
	}
}

// attend answers what comes over a connection, until it ends or is left to
// Caddy.
func (s *Server) attend(port int, c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		s.leave(port, c)
		return
	}
	line, err := s.proxy.NewLine(port, tcp, &s.draining)
	if err != nil {
		s.log.Debug("connection not read", "port", port, "err", err)
		c.Close()
		return
	}
	s.fronts.mu.Lock()
	s.fronts.lines[line] = struct{}{}
	s.fronts.mu.Unlock()
	defer func() {
		s.fronts.mu.Lock()
		delete(s.fronts.lines, line)
		s.fronts.mu.Unlock()
		// As net/http has it: what one connection runs into is not to end all.
		if why := recover(); why != nil {
			s.log.Error("connection ended", "port", port, "err", why, "stack", string(debug.Stack()))
			c.Close()
		}
	}()
	if rest := line.Serve(); rest != nil {
		s.leave(port, rest)
	}
}

// leave gives a connection to Caddy, by the listener that the port has now: the
// one that it came in by may have gone with an older configuration.
func (s *Server) leave(port int, c net.Conn) {
	for {
		s.fronts.mu.Lock()
		f := s.fronts.byPort[port]
		s.fronts.mu.Unlock()
		select {
		case f.left <- c:
			return
		case <-f.closed:
		}
		s.fronts.mu.Lock()
		replaced := s.fronts.byPort[port] != f
		s.fronts.mu.Unlock()
		if !replaced {
			c.Close() // the port is no more
			return
		}
	}
}

// drain closes connections as soon as they have no request, and all of them when
// ctx ends.
func (f *fronts) drain(ctx context.Context) {
	for f.each((*proxy.Line).CloseIdle) > 0 {
		select {
		case <-ctx.Done():
			f.each(func(l *proxy.Line) bool { l.Close(); return true })
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// each calls do for all connections and returns for how many it was false.
func (f *fronts) each(do func(*proxy.Line) bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := 0
	for l := range f.lines {
		if !do(l) {
			left++
		}
	}
	return left
}
