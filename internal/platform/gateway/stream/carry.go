package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

const (
	// attempts is how many endpoints are tried when one after the other cannot be
	// reached.
	attempts  = 5
	dialLimit = 3 * time.Second
	// handshakeLimit is how long a client may take to begin TLS.
	handshakeLimit = 15 * time.Second
)

// carry takes a connection to a backend of its target and returns when it has
// ended. Without a target, or with a backend that is not there, the connection
// is refused by resetting it, so that a client does not take it for an answer.
func (s *Server) carry(ctx context.Context, port int, target *Target, conn net.Conn) {
	if target == nil {
		refuse(conn)
		return
	}
	backend := target.choose()
	if backend == nil || backend.Port == nil {
		s.log.Debug("connection refused", "route", routeName(target), "port", port, "missing", missing(backend))
		refuse(conn)
		return
	}
	if target.Terminate {
		ended, err := s.handshake(ctx, conn)
		if err != nil {
			s.log.Debug("TLS not begun", "route", routeName(target), "port", port, "err", err)
			_ = conn.Close()
			return
		}
		conn = ended
	}
	defer conn.Close()
	stats := &backend.Port.Service.Stats
	stats.InFlight.Add(1)
	defer stats.InFlight.Add(-1)
	began := time.Now()
	to, done, err := s.dial(ctx, backend.Port)
	stats.Answered(time.Since(began), err != nil)
	if err != nil {
		s.log.Debug("connection refused", "route", routeName(target), "service", backend.Port.Service.Key, "err", err)
		refuse(conn)
		return
	}
	defer done()
	defer to.Close()
	// Whoever gives up the client's connection closes only that one.
	defer context.AfterFunc(ctx, func() { _ = to.Close() })()
	both(conn, to)
}

func routeName(t *Target) string {
	if t.Route == nil {
		return ""
	}
	return t.Route.Name
}

func missing(b *route.Backend) string {
	if b == nil {
		return "no backend has a weight"
	}
	return b.Missing
}

// handshake ends a client's TLS.
func (s *Server) handshake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	conf := s.cfg.TLS()
	if conf == nil {
		return nil, errors.New("there are no certificates yet")
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	ended := tls.Server(conn, conf)
	if err := ended.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if ended.ConnectionState().NegotiatedProtocol == AuthorityAsks {
		// It was answered with the handshake, and has been shown nothing else.
		return nil, errors.New("a public authority has looked whether the name is ours")
	}
	return ended, nil
}

// AuthorityAsks is the protocol by which a public authority sees that a name is
// ours (RFC 8737).
const AuthorityAsks = "acme-tls/1"

// dial connects to an endpoint. done must be called when the connection has
// ended. Nothing has been sent yet, so an endpoint that does not answer is
// followed by another, and one that is to be started is waited for.
func (s *Server) dial(ctx context.Context, port *upstream.Port) (conn net.Conn, done func(), err error) {
	var failed []*upstream.Endpoint
	var last error
	d := net.Dialer{Timeout: dialLimit}
	for len(failed) < attempts {
		e := port.Pick(rand.IntN, failed)
		if e == nil {
			if len(port.Endpoints()) > 0 {
				break
			}
			if err := s.hold.Wait(ctx, port); err != nil {
				return nil, nil, err
			}
			failed = nil
			continue
		}
		e.Begin()
		conn, err := d.DialContext(ctx, "tcp", e.Addr)
		if err == nil {
			return conn, e.Done, nil
		}
		e.Done()
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		e.Failed()
		failed, last = append(failed, e), err
	}
	return nil, nil, fmt.Errorf("no endpoint can be reached: %w", last)
}

// both copies in both directions until both have ended. An end in one direction
// is handed on, and the other goes on: a client may well be done before the
// answer begins.
func both(a, b net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		oneWay(a, b)
	}()
	oneWay(b, a)
	<-done
}

func oneWay(to, from net.Conn) {
	if _, err := io.Copy(to, from); err == nil && closeWrite(to) {
		return
	}
	_ = to.Close()
	_ = from.Close()
}

// closeWrite ends what is sent on a connection, and tells whether it could.
func closeWrite(conn net.Conn) bool {
	for conn != nil {
		if w, ok := conn.(interface{ CloseWrite() error }); ok {
			return w.CloseWrite() == nil
		}
		conn = within(conn)
	}
	return false
}

// refuse resets a connection.
func refuse(conn net.Conn) {
	for c := conn; c != nil; c = within(c) {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	_ = conn.Close()
}

// within is the connection that another is made of.
func within(conn net.Conn) net.Conn {
	switch c := conn.(type) {
	case interface{ NetConn() net.Conn }: // TLS, and what has been read from
		return c.NetConn()
	case *proxyproto.Conn:
		return c.Raw()
	}
	return nil
}
