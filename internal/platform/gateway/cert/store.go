package cert

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// Given is a certificate that a user named for the names under Host on a port:
// exact, *.example.com, or empty for all.
type Given struct {
	Port int
	Host string
	Pair *tls.Certificate
}

// Store answers what certificate a client is shown. The zero Store has none.
type Store struct {
	given     atomic.Pointer[map[place][]*tls.Certificate]
	authority atomic.Pointer[Authority]

	// Public returns the certificate that a public authority has given for a name;
	// nil is none. The function is set before the first use, or not at all.
	Public func(*tls.ClientHelloInfo) *tls.Certificate
}

type place struct {
	port int
	host string
}

// ErrNone is that there is no certificate for a name.
var ErrNone = errors.New("no certificate for this name")

// Swap puts certificates in the place of those before.
func (s *Store) Swap(certs []Given) {
	m := make(map[place][]*tls.Certificate, len(certs))
	for _, g := range certs {
		p := place{g.Port, strings.ToLower(g.Host)}
		m[p] = append(m[p], g.Pair)
	}
	s.given.Store(&m)
}

// SetAuthority says who makes certificates for names that have none.
func (s *Store) SetAuthority(a *Authority) { s.authority.Store(a) }

// Get chooses the certificate for a connection: one that was given, one that a
// public authority vouches for, or one that is made.
func (s *Store) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	local := localAddr(hello)
	if c := s.find(local.Port, host, hello); c != nil {
		return c, nil
	}
	if host == "" {
		host = local.IP.String() // a client that went by address names nobody
	} else if s.Public != nil {
		if c := s.Public(hello); c != nil {
			return c, nil
		}
	}
	a := s.authority.Load()
	if a == nil {
		return nil, ErrNone
	}
	return a.Leaf(host, time.Now())
}

func (s *Store) find(port int, host string, hello *tls.ClientHelloInfo) *tls.Certificate {
	given := s.given.Load()
	if given == nil || len(*given) == 0 {
		return nil
	}
	if c := fitting((*given)[place{port, host}], hello); c != nil && host != "" {
		return c
	}
	for rest := host; ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
		if c := fitting((*given)[place{port, "*." + rest}], hello); c != nil {
			return c
		}
	}
	return fitting((*given)[place{port, ""}], hello)
}

// fitting takes the first certificate that the client can use and that names
// the host; failing that, the first: a wrong name is the client's to refuse.
func fitting(certs []*tls.Certificate, hello *tls.ClientHelloInfo) *tls.Certificate {
	for _, c := range certs {
		if hello.SupportsCertificate(c) == nil {
			return c
		}
	}
	if len(certs) > 0 {
		return certs[0]
	}
	return nil
}

// LocalPort is the port that a client has connected to.
func LocalPort(hello *tls.ClientHelloInfo) int { return localAddr(hello).Port }

// localAddr is the address that a connection has come in by. What a proxy in
// front says is where its client has gone to.
func localAddr(hello *tls.ClientHelloInfo) net.TCPAddr {
	conn := hello.Conn
	for {
		if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
			conn = c.NetConn()
		} else if c, ok := conn.(interface{ Raw() net.Conn }); ok {
			conn = c.Raw()
		} else {
			break
		}
	}
	if conn == nil {
		return net.TCPAddr{}
	}
	switch a := conn.LocalAddr().(type) {
	case *net.TCPAddr:
		return *a
	case *net.UDPAddr: // HTTP/3
		return net.TCPAddr{IP: a.IP, Port: a.Port}
	}
	return net.TCPAddr{}
}
