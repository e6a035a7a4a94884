package cert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"
)

func authority(t *testing.T) (*Authority, *x509.CertPool) {
	t.Helper()
	certPEM, keyPEM, err := NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, err := OpenAuthority(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return a, roots
}

func TestALeafIsGoodForItsNameAndKept(t *testing.T) {
	a, roots := authority(t)
	now := time.Now()
	for _, host := range []string{"web.shop.sampan.local", "192.0.2.1"} {
		c, err := a.Leaf(host, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("certificate of %s: %v", host, err)
		}
		if again, _ := a.Leaf(host, now.Add(24*time.Hour)); again != c {
			t.Errorf("%s has another certificate the day after", host)
		}
		if late, _ := a.Leaf(host, now.Add(leafLife-24*time.Hour)); late == c {
			t.Errorf("%s has the same certificate on its last day", host)
		}
	}
}

func TestACertificateThatMayNotSignIsNoAuthority(t *testing.T) {
	if _, err := OpenAuthority([]byte("x"), []byte("y")); err == nil {
		t.Error("OpenAuthority took what is no certificate")
	}
}

// conn is a connection to a local address.
type conn struct {
	net.Conn
	local net.TCPAddr
}

func (c conn) LocalAddr() net.Addr { return &c.local }

func TestTheMostExactCertificateIsShown(t *testing.T) {
	a, _ := authority(t)
	pair := func(host string) *tls.Certificate {
		c, err := a.Leaf(host, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	exact, wild, all, other := pair("a.test"), pair("wild.test"), pair("all.test"), pair("other.test")
	var s Store
	s.Swap([]Given{{443, "A.test", exact}, {443, "*.w.test", wild}, {8443, "", all}, {8443, "a.test", other}})
	public := pair("public.test")
	s.Public = func(h *tls.ClientHelloInfo) *tls.Certificate {
		if h.ServerName == "public.test" {
			return public
		}
		return nil
	}
	hello := func(name string, port int) *tls.ClientHelloInfo {
		return &tls.ClientHelloInfo{
			ServerName: name, Conn: conn{local: net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port}},
			SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		}
	}
	if _, err := s.Get(hello("made.test", 443)); !errors.Is(err, ErrNone) {
		t.Errorf("without an authority Get = %v; want %v", err, ErrNone)
	}
	s.SetAuthority(a)
	for name, tt := range map[string]struct {
		host string
		port int
		want *tls.Certificate
	}{
		"its own name":              {"a.test", 443, exact},
		"a wildcard":                {"x.y.w.test", 443, wild},
		"the same name, other port": {"a.test", 8443, other},
		"what is for all":           {"b.test", 8443, all},
		"made for the name":         {"made.test", 443, pair("made.test")},
		"made for the address":      {"", 443, pair("192.0.2.1")},
		"a public authority's":      {"public.test", 443, public},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := s.Get(hello(tt.host, tt.port)); err != nil || got != tt.want {
				t.Errorf("Get(%q on %d) = %v, %v; want another", tt.host, tt.port, got != nil, err)
			}
		})
	}
}
