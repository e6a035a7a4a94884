package stream

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// authority makes certificates, and is trusted by what it returns.
func authority(t *testing.T) (*cert.Authority, *x509.CertPool) {
	t.Helper()
	certPEM, keyPEM, err := cert.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, err := cert.OpenAuthority(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return a, roots
}

func serving(a *cert.Authority) *tls.Config {
	return &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return a.Leaf(h.ServerName, time.Now()) }}
}

// secret is a parrot that speaks TLS.
func secret(t *testing.T, name string, conf *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go repeat(conn, name)
		}
	}()
	return l.Addr().String()
}

func TestTheNameThatAClientAsksForDecides(t *testing.T) {
	ca, roots := authority(t)
	gateCA, gateRoots := authority(t)
	g, port := newGate(t, Config{
		TLS:   func() *tls.Config { return serving(gateCA) },
		HTTPS: func(_ int, name string) bool { return strings.HasSuffix(name, "example.org") },
	}), freePort(t)
	backend := func(name string) route.Backend {
		return g.to(name, 1, upstream.TCP, secret(t, name, serving(ca)))
	}
	listeners := []Listener{
		{Port: port, Protocol: Passthrough, Hostname: "*.example.com", Routes: []*route.Route{
			routeTo("exact", []string{"abc.example.com"}, backend("exact")),
			routeTo("wild", []string{"*.com"}, backend("wild")),
			routeTo("elsewhere", []string{"abc.example.org"}, backend("elsewhere")),
		}},
		{Port: port, Protocol: Terminate, Hostname: "ends.example.com", Routes: []*route.Route{
			routeTo("ends", []string{"ends.example.com"}, g.to("plain", 1, upstream.TCP, parrot(t, "plain"))),
		}},
	}
	g.swap(listeners...)
	check := func(t *testing.T, port int, roots *x509.CertPool, name, want string) {
		t.Helper()
		conn := tls.Client(dial(t, port), &tls.Config{ServerName: name, RootCAs: roots, NextProtos: []string{"parrot"}})
		got, err := ask(conn, "x")
		if err != nil {
			got = "refused"
		}
		if got != want {
			t.Errorf("%s: answer = %q, %v; want %s", name, got, err, want)
		}
	}
	for name, tt := range map[string]struct {
		roots      *x509.CertPool
		host, want string
	}{
		"the route's exact name":        {roots, "abc.example.com", "exact x"},
		"a name in other letters":       {roots, "ABC.example.com", "exact x"},
		"a name under the wildcard":     {roots, "a.b.example.com", "wild x"},
		"a name that no listener has":   {roots, "abc.example.org", "refused"},
		"TLS that ends at the gateway":  {gateRoots, "ends.example.com", "plain x"},
		"a name outside the listener's": {roots, "example.com", "refused"},
	} {
		t.Run(name, func(t *testing.T) { check(t, port, tt.roots, tt.host, tt.want) })
	}

	t.Run("names of HTTPS on the same port come out of its listener", func(t *testing.T) {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		shared := inner.Addr().(*net.TCPAddr).Port
		for i := range listeners {
			listeners[i].Port = shared
		}
		g.swap(append(listeners, Listener{Port: shared, Protocol: HTTPS})...)
		serve := func() *sorted {
			l := g.Wrap(shared, inner).(*sorted)
			go func() {
				for {
					conn, err := tls.NewListener(l, serving(ca)).Accept()
					if err != nil {
						return
					}
					go repeat(conn, "https")
				}
			}()
			return l
		}
		old := serve()
		check(t, shared, roots, "abc.example.com", "exact x")
		check(t, shared, roots, "web.example.org", "https x")
		check(t, shared, roots, "nobody.test", "refused")
		check(t, shared, gateRoots, "ends.example.com", "plain x")
		// A connection that is still to say its name is not lost between two servers.
		late := dial(t, shared)
		time.Sleep(20 * time.Millisecond)
		next := serve()
		defer next.Close()
		old.leave()
		conn := tls.Client(late, &tls.Config{ServerName: "late.example.org", RootCAs: roots})
		if got, err := ask(conn, "x"); err != nil || got != "https x" {
			t.Errorf("a slow client = %q, %v; want https x", got, err)
		}
		// Without any route of TLS, all is HTTPS.
		g.swap()
		check(t, shared, roots, "abc.example.com", "https x")
	})
}
