package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// listener accepts on several addresses at once: the API server takes one
// listener, and binding every address of the machine would be more than asked
// for.
type listener struct {
	all    []net.Listener
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

// listen binds addrs on port, all of them or none. The first one is the
// listener's own address.
func listen(ctx context.Context, addrs []netip.Addr, port int) (*listener, error) {
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	for _, a := range addrs {
		one, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(port)))
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("API server: %w", err)
		}
		l.all = append(l.all, one)
		// Port 0 means any, and then the same one everywhere.
		port = one.Addr().(*net.TCPAddr).Port
	}
	for _, one := range l.all {
		l.wg.Go(func() { l.accept(one) })
	}
	return l, nil
}

func (l *listener) accept(one net.Listener) {
	for {
		conn, err := one.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the peer hung up, or there are no file descriptors left
		}
		select {
		case l.conns <- conn:
		case <-l.closed:
			conn.Close()
		}
	}
}

// Accept returns the next connection to any of the addresses.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close frees all addresses.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		for _, one := range l.all {
			one.Close()
		}
		l.wg.Wait()
	})
	return nil
}

// Addr returns the first address.
func (l *listener) Addr() net.Addr { return l.all[0].Addr() }
