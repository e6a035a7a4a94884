// Package acmetest is a public authority for tests: pebble, with names that all
// lead to this machine.
package acmetest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// Authority is a public authority.
type Authority struct {
	Directory string         // its address
	CA        string         // file with what its address is to be trusted by
	Roots     *x509.CertPool // what its certificates are to be trusted by

	server *httptest.Server
}

// Start runs an authority whose certificates are good for life. It asks whose a
// name is at ports of this machine.
func Start(t *testing.T, httpPort, tlsPort int, life time.Duration) *Authority {
	t.Helper()
	for key, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"} {
		t.Setenv(key, value)
	}
	silent := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	authority := ca.New(silent, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: uint64(life / time.Second)}})
	validator := va.New(silent, httpPort, tlsPort, false, names(t), store)
	front := wfe.New(silent, store, validator, authority, []string{"authority.test"}, false, false, 1, 1)
	a := &Authority{server: httptest.NewTLSServer(front.Handler()), Roots: x509.NewCertPool(), CA: filepath.Join(t.TempDir(), "ca.pem")}
	t.Cleanup(a.server.Close)
	a.Directory = a.server.URL + wfe.DirectoryPath
	root := authority.GetRootCert(0)
	a.Roots.AddCert(root.Cert)
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.server.Certificate().Raw})
	if err := os.WriteFile(a.CA, own, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// Fail makes the authority answer everything with 503.
func (a *Authority) Fail() {
	a.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
}

// Check verifies the chain that a server shows.
func (a *Authority) Check(s tls.ConnectionState, name string) error {
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: a.Roots, Intermediates: between, DNSName: name})
	return err
}

// names runs a DNS server by which every name leads to this machine.
func names(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // pebble asks so
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(r)
		if r.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown(); <-done })
	return l.Addr().String()
}
