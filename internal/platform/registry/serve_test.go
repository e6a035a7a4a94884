package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"

	"github.com/sampan-cloud/sampan/internal/node/image"
)

const host = "registry.local" // what images are called on the node

// node is a registry that runs over TLS on a store, and a client for it.
type node struct {
	t     *testing.T
	dir   string
	addr  string
	store *image.Store
	http  *http.Client
	stop  func()
}

// serve starts a registry on what is in dir.
func serve(t *testing.T, dir string, access Access) *node {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	store, err := image.Open(image.Config{Root: filepath.Join(dir, "images")}, quiet)
	if err != nil {
		t.Fatalf("open image store: %v", err)
	}
	cert, pool := certificate(t)
	r, err := New(Config{
		Root: filepath.Join(dir, "registry"), Host: host, Listen: "127.0.0.1:0",
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
	}, store, access, quiet)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx, func() {}); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	n := &node{t: t, dir: dir, addr: r.Addr().String(), store: store}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	n.http = &http.Client{Transport: transport}
	n.stop = sync.OnceFunc(func() {
		transport.CloseIdleConnections()
		cancel()
		wg.Wait()
		store.Close()
	})
	t.Cleanup(n.stop)
	return n
}

// admin is the usual access of tests.
var admin = Admin{Credentials: Credentials{"admin", "secret"}}

// start is serve in a directory of the test's own.
func start(t *testing.T) *node { return serve(t, t.TempDir(), admin) }

// as gives a stock client the node's trust and somebody's credentials.
func (n *node) as(user, password string) []crane.Option {
	opts := []crane.Option{crane.WithTransport(n.http.Transport)}
	if user != "" {
		opts = append(opts, crane.WithAuth(authn.FromConfig(authn.AuthConfig{Username: user, Password: password})))
	}
	return opts
}

func (n *node) client() []crane.Option { return n.as("admin", "secret") }

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends one request as the admin. headers are "Name: value".
func (n *node) do(method, path, body string, headers ...string) answer {
	n.t.Helper()
	url := path
	if strings.HasPrefix(path, "/") {
		url = "https://" + n.addr + path
	}
	req, err := http.NewRequestWithContext(n.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.SetBasicAuth("admin", "secret")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := n.http.Do(req)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

// certificate makes one for 127.0.0.1, and what trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
