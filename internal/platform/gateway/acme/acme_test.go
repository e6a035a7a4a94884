package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/acme/acmetest"
)

// front answers the authority's questions as a gateway does, and shows what
// certificates there are.
func front(t *testing.T) (httpPort, tlsPort int, use func(*Client)) {
	t.Helper()
	var c *Client
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.magic.Issuers[0].(*certmagic.ACMEIssuer).HandleHTTPChallenge(w, r) {
			http.NotFound(w, r)
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(plain) }()
	go func() {
		for {
			conn, err := secure.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = tls.Server(conn, &tls.Config{NextProtos: []string{"acme-tls/1"}, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
					if len(h.SupportedProtos) == 1 && h.SupportedProtos[0] == "acme-tls/1" {
						return c.magic.GetCertificate(h)
					}
					return c.Certificate(h), nil
				}}).Handshake()
			}()
		}
	}()
	t.Cleanup(func() { _ = srv.Close(); <-done; secure.Close() })
	return plain.Addr().(*net.TCPAddr).Port, secure.Addr().(*net.TCPAddr).Port, func(client *Client) { c = client }
}

// run runs a client until the test ends.
func run(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, func() {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return c
}

// wait waits until a name is as it is to be.
func wait(t *testing.T, c *Client, host string, what string, is func(Status) bool) Status {
	t.Helper()
	var last Status
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, s := range c.Statuses() {
			if s.Name == host {
				last = s
			}
		}
		if is(last) {
			return last
		}
	}
	t.Fatalf("%s is %+v after 15 s; want %s", host, last, what)
	return last
}

func TestANameGetsItsCertificateAndKeepsItFresh(t *testing.T) {
	httpPort, tlsPort, use := front(t)
	a := acmetest.Start(t, httpPort, tlsPort, 6*time.Second)
	c := run(t, Config{Dir: t.TempDir(), Directory: a.Directory, CA: a.CA, Email: "ops@example.com", HTTPPort: httpPort, TLSPort: tlsPort, Check: 200 * time.Millisecond})
	use(c)
	c.Want([]string{"Shop.example.com"})
	first := wait(t, c, "shop.example.com", "a certificate", func(s Status) bool { return s.NotAfter != nil })
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", tlsPort), &tls.Config{ServerName: "shop.example.com", RootCAs: a.Roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := a.Check(conn.ConnectionState(), "shop.example.com"); err != nil {
		t.Error(err)
	}
	wait(t, c, "shop.example.com", "a newer certificate", func(s Status) bool { return s.NotAfter != nil && s.NotAfter.After(*first.NotAfter) })

	// A name that has left is no longer shown.
	c.Want(nil)
	if got := c.Certificate(&tls.ClientHelloInfo{ServerName: "shop.example.com", SupportedVersions: []uint16{tls.VersionTLS13}}); got != nil || len(c.Statuses()) != 0 {
		t.Errorf("a name that left has a certificate: %v, %+v", got != nil, c.Statuses())
	}
}

func TestAnAuthorityThatFailsLeavesTheOldCertificateAndSaysWhy(t *testing.T) {
	httpPort, tlsPort, use := front(t)
	a := acmetest.Start(t, httpPort, tlsPort, 7*time.Second)
	dir := t.TempDir()
	cfg := Config{Dir: dir, Directory: a.Directory, CA: a.CA, HTTPPort: httpPort, TLSPort: tlsPort, Check: 200 * time.Millisecond}
	c := run(t, cfg)
	use(c)
	c.Want([]string{"old.example.com"})
	wait(t, c, "old.example.com", "a certificate", func(s Status) bool { return s.NotAfter != nil })
	a.Fail()
	c.Want([]string{"old.example.com", "new.example.com"})
	wait(t, c, "new.example.com", "no certificate, and why", func(s Status) bool {
		return s.NotAfter == nil && strings.Contains(s.Error, "HTTP 503")
	})
	wait(t, c, "old.example.com", "its certificate still, and why there is no newer one", func(s Status) bool {
		return s.NotAfter != nil && strings.Contains(s.Error, "HTTP 503")
	})
	// What was got before is there again after a restart, whatever the authority does.
	again := run(t, cfg)
	again.Want([]string{"old.example.com"})
	wait(t, again, "old.example.com", "its certificate from before", func(s Status) bool { return s.NotAfter != nil })
}

func TestBadSettingsAreNamed(t *testing.T) {
	if _, err := New(Config{Dir: t.TempDir(), CA: "/nowhere.pem"}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "/nowhere.pem") {
		t.Errorf("New = %v; want that the file is named", err)
	}
}
