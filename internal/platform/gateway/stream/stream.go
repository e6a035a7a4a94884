// Package stream carries connections and datagrams that are not HTTP: those of
// TCPRoutes, UDPRoutes and TLSRoutes.
//
// It listens by itself, and not through Caddy, so that a new port is no new
// configuration of Caddy's, and a change of routes is a pointer swap as it is for
// requests. Connections under way go on as they are, whatever becomes of their
// route. A port that HTTPS is spoken on too stays Caddy's, and a wrapper around
// its listener takes out the connections whose name a TLSRoute has.
package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// Config holds the settings of a Server.
type Config struct {
	Host          string         // to listen on; empty is every address
	ProxyProtocol []netip.Prefix // who may say on whose behalf a connection is made
	Hold          upstream.HoldConfig
	// TLS is how connections that end here are answered. It is asked for each, and
	// may say that there is nothing yet.
	TLS func() *tls.Config
	// HTTPS tells whether there is anything for a name on a port. Where names are
	// told apart, one that nobody has is refused.
	HTTPS func(port int, name string) bool
}

// Server carries what its Table says.
type Server struct {
	cfg   Config
	log   *slog.Logger
	hold  *upstream.Hold
	table atomic.Pointer[Table]

	mu    sync.Mutex
	tcp   map[int]net.Listener
	udp   map[int]*datagrams
	hubs  map[int]*hub
	ended bool // nothing is listened on any more

	parts sync.WaitGroup // goroutines that accept, and those that carry
	conns conns
	room  sync.Pool // *[]byte for one datagram each
}

// New returns a Server without any port. Apps that have no copy are started
// through waker.
func New(cfg Config, waker upstream.Waker, log *slog.Logger) *Server {
	s := &Server{
		cfg: cfg, log: log, hold: upstream.NewHold(cfg.Hold, waker),
		tcp: map[int]net.Listener{}, udp: map[int]*datagrams{}, hubs: map[int]*hub{},
	}
	s.conns.open = map[net.Conn]context.CancelFunc{}
	s.room.New = func() any { b := make([]byte, maxDatagram); return &b }
	s.table.Store(&Table{})
	return s
}

// Swap puts a table in the place of the one before. Ports that are new are
// listened on when it returns; those that could not be are in its error. What is
// not in the table any more is closed by what it returns, which is to be called
// once others, who may have taken a port over, listen on it.
func (s *Server) Swap(t *Table) (closeOld func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.Store(t)
	tcp, udp := t.ports()
	var failed []error
	if !s.ended {
		for port := range tcp {
			if s.tcp[port] == nil {
				failed = append(failed, s.listenTCP(port))
			}
		}
		for port := range udp {
			if s.udp[port] == nil {
				failed = append(failed, s.listenUDP(port))
			}
		}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for port, l := range s.tcp {
			if !tcp[port] {
				_ = l.Close()
				delete(s.tcp, port)
			}
		}
		for port, d := range s.udp {
			if !udp[port] {
				d.close()
				delete(s.udp, port)
			}
		}
	}, errors.Join(failed...)
}

// Close ends accepting. Connections go on, and datagrams of clients that are
// known are not read any more: a successor has the port by now.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, l := range s.tcp {
		_ = l.Close()
	}
	for _, d := range s.udp {
		d.close()
	}
	clear(s.tcp)
	clear(s.udp)
}

// Wait returns when the connections have ended. When ctx ends before they have,
// they are closed.
func (s *Server) Wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		s.parts.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.conns.closeAll()
		<-done
	}
}

// listenConfig shares ports with the gateway's successor or predecessor.
var listenConfig = net.ListenConfig{Control: shared}

// Free tells why a port of TCP cannot be listened on; nil when it can, be it
// beside another gateway.
func Free(port int) error {
	l, err := listenConfig.Listen(context.Background(), "tcp", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

// listenTCP is called with mu held.
func (s *Server) listenTCP(port int) error {
	l, err := listenConfig.Listen(context.Background(), "tcp", net.JoinHostPort(s.cfg.Host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("port %d: %w", port, err)
	}
	if len(s.cfg.ProxyProtocol) > 0 {
		l = &proxyproto.Listener{Listener: l, ReadHeaderTimeout: proxyLimit, ConnPolicy: s.believe}
	}
	s.tcp[port] = l
	s.parts.Go(func() { s.accept(port, l) })
	return nil
}

// proxyLimit is how long a proxy may take to say whom it speaks for.
const proxyLimit = 5 * time.Second

// believe takes a PROXY header from those who are trusted, and leaves everybody
// else's to the backend as the data that it is.
func (s *Server) believe(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
	from, err := netip.ParseAddrPort(o.Upstream.String())
	if err != nil {
		return proxyproto.SKIP, nil
	}
	for _, p := range s.cfg.ProxyProtocol {
		if p.Contains(from.Addr().Unmap()) {
			return proxyproto.USE, nil
		}
	}
	return proxyproto.SKIP, nil
}

// accept takes connections until the listener is closed.
func (s *Server) accept(port int, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors, or a client that went away at once.
			s.log.Debug("connection not accepted", "port", port, "err", err)
			time.Sleep(5 * time.Millisecond)
			continue
		}
		s.parts.Go(func() { s.serve(port, conn) })
	}
}

// serve carries one connection of a port that is our own.
func (s *Server) serve(port int, conn net.Conn) {
	ctx, end := s.conns.begin(conn)
	defer end()
	t := s.table.Load()
	if !t.sorts(port) {
		s.carry(ctx, port, t.tcp[port], conn)
		return
	}
	name, read, err := hear(conn)
	if err != nil {
		_ = conn.Close()
		return
	}
	target, _ := t.byName(port, name)
	s.carry(ctx, port, target, &again{conn, read})
}

// shared lets several processes listen on one port.
func shared(_, _ string, c syscall.RawConn) error {
	var serr error
	err := c.Control(func(fd uintptr) {
		serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, serr)
}
