package stream

import (
	"net"
	"sync"
	"time"
)

// Wrap returns a listener for HTTPS on a port. Connections to names that a
// TLSRoute has never come out of it. Two wrappers of one port share what comes
// in: when Caddy puts a new server in the place of one, nothing that has been
// accepted is lost between the two.
func (s *Server) Wrap(port int, l net.Listener) net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hubs[port]
	if h == nil {
		h = &hub{conns: make(chan net.Conn), gone: make(chan struct{})}
		s.hubs[port] = h
	}
	h.users++
	w := &sorted{Listener: l, server: s, port: port, hub: h, closed: make(chan struct{}), ended: make(chan struct{})}
	s.parts.Go(w.run)
	return w
}

// hub hands over the connections of a port.
type hub struct {
	conns chan net.Conn
	users int           // of Server.mu
	gone  chan struct{} // closed after the last user
}

// sorted is a listener without the connections that go elsewhere.
type sorted struct {
	net.Listener
	server *Server
	port   int
	hub    *hub

	once   sync.Once
	closed chan struct{} // nobody takes from it any more
	ended  chan struct{} // nothing more comes
	err    error         // why; set before ended
}

// Accept waits for a connection that HTTPS is to be spoken on.
func (w *sorted) Accept() (net.Conn, error) {
	select {
	case conn := <-w.hub.conns:
		return conn, nil
	case <-w.closed:
		return nil, net.ErrClosed
	case <-w.ended:
		return nil, w.err
	}
}

// Close closes the listener.
func (w *sorted) Close() error {
	w.leave()
	return w.Listener.Close()
}

// leave takes no more connections.
func (w *sorted) leave() {
	w.once.Do(func() {
		close(w.closed)
		w.server.mu.Lock()
		defer w.server.mu.Unlock()
		if w.hub.users--; w.hub.users == 0 {
			close(w.hub.gone)
			delete(w.server.hubs, w.port)
		}
	})
}

// run accepts and sorts until the listener is closed. What has been accepted
// before that is still handed over.
func (w *sorted) run() {
	var hearing sync.WaitGroup
	for {
		conn, err := w.Listener.Accept()
		if err != nil {
			if t, ok := err.(interface{ Temporary() bool }); ok && t.Temporary() {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			w.err = err
			break
		}
		if !w.server.table.Load().sorts(w.port) {
			w.give(conn)
			continue
		}
		hearing.Go(func() { w.hear(conn) })
	}
	hearing.Wait()
	close(w.ended)
}

// hear finds out where a connection goes.
func (w *sorted) hear(conn net.Conn) {
	s := w.server
	ctx, end := s.conns.begin(conn)
	name, read, err := hear(conn)
	if err != nil {
		end()
		_ = conn.Close()
		return
	}
	whole := &again{conn, read}
	target, https := s.table.Load().byName(w.port, name)
	// A client that names nobody went by address, and says only later whom it wants.
	if https && (name == "" || s.cfg.HTTPS(w.port, name)) {
		end()
		w.give(whole)
		return
	}
	s.parts.Go(func() {
		defer end()
		s.carry(ctx, w.port, target, whole)
	})
}

// give hands a connection over.
func (w *sorted) give(conn net.Conn) {
	select {
	case w.hub.conns <- conn:
	case <-w.hub.gone:
		_ = conn.Close()
	}
}
