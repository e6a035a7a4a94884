package image

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Registry says how to reach the registry of one host.
type Registry struct {
	Mirrors   []string // URLs that are asked first, in order: https://cache.local/hub
	Auth      *Auth    // for those who bring no credentials of their own
	CAFiles   []string // PEM files with authorities to trust besides the system's
	Insecure  bool     // do not check its certificate
	PlainHTTP bool     // speak HTTP; loopback addresses and http:// mirrors do so unasked
	Address   string   // host:port to connect to instead, past DNS and proxies; empty asks them
	Proxy     string   // URL; empty takes HTTPS_PROXY, HTTP_PROXY and NO_PROXY from the environment
}

// hosts knows every registry host and keeps connections to it.
type hosts struct {
	settings map[string]Registry
	stall    time.Duration

	mu     *sync.Mutex
	byHost map[string]*http.Transport
}

// An endpoint is one place to ask for a repository: a mirror or the registry
// itself.
type endpoint struct {
	host   string // for messages
	mirror bool
	repo   name.Repository
	origin string // the host that the image name says, which mirrors want to know
	auth   authn.Authenticator
	base   http.RoundTripper
}

// newHosts checks the settings, so that a bad one is refused at the start and not
// at the first pull.
func newHosts(settings map[string]Registry, stall time.Duration) (hosts, error) {
	h := hosts{settings: settings, stall: stall, mu: &sync.Mutex{}, byHost: map[string]*http.Transport{}}
	for host, reg := range settings {
		for _, mirror := range reg.Mirrors {
			u, err := url.Parse(mirror)
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return h, fmt.Errorf("registry %s: mirror %q is not a URL like https://cache.local: %w", host, mirror, fault.Invalid)
			}
		}
		if host != "*" {
			if _, err := h.transport(host); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

func (h *hosts) of(host string) Registry {
	if reg, ok := h.settings[host]; ok {
		return reg
	}
	return h.settings["*"]
}

// transport returns the connections to a host.
func (h *hosts) transport(host string) (*http.Transport, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.byHost[host]; t != nil {
		return t, nil
	}
	reg := h.of(host)
	trust, err := trust(reg.CAFiles)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", host, err)
	}
	proxy := http.ProxyFromEnvironment
	if reg.Proxy != "" {
		u, err := url.Parse(reg.Proxy)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("registry %s: proxy %q is not a URL: %w", host, reg.Proxy, fault.Invalid)
		}
		proxy = http.ProxyURL(u)
	}
	dial := (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	if reg.Address != "" {
		proxy = nil // it would be asked for a name that only we know
		dial = redirect(dial, host, reg.Address)
	}
	t := &http.Transport{
		Proxy:                 proxy,
		DialContext:           dial,
		TLSClientConfig:       &tls.Config{RootCAs: trust, InsecureSkipVerify: reg.Insecure},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: h.stall,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       time.Minute,
		// A layer is compressed already; what arrives must be what was digested.
		DisableCompression: true,
	}
	h.byHost[host] = t
	return t, nil
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// redirect dials another address for a host. A registry may send its client on to
// other hosts, and those are dialled as they are.
func redirect(dial dialFunc, host, to string) dialFunc {
	_, _, err := net.SplitHostPort(host)
	anyPort := err != nil // an image name without a port means HTTPS's or HTTP's
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		asked, _, err := net.SplitHostPort(address)
		if address == host || anyPort && err == nil && asked == host {
			address = to
		}
		return dial(ctx, network, address)
	}
}

// trust returns the system's authorities and those of files; nil is the system's.
func trust(files []string) (*x509.CertPool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s holds no PEM certificate: %w", file, fault.Invalid)
		}
	}
	return pool, nil
}

// endpoints returns where to ask for a repository of host: mirrors first. The
// caller's credentials go to the host itself only, for a mirror may belong to
// somebody else.
func (h *hosts) endpoints(host, path string, auth *Auth) ([]endpoint, error) {
	var all []endpoint
	for _, mirror := range h.of(host).Mirrors {
		u, err := url.Parse(mirror)
		if err != nil {
			return nil, err
		}
		prefix := strings.Trim(strings.TrimPrefix(strings.Trim(u.Path, "/"), "v2"), "/")
		if prefix != "" {
			prefix += "/"
		}
		e, err := h.endpoint(u.Host, prefix+path, u.Scheme == "http", h.of(u.Host).Auth)
		if err != nil {
			return nil, fmt.Errorf("mirror %s: %w", mirror, err)
		}
		e.host, e.mirror, e.origin = "mirror "+mirror, true, host
		all = append(all, e)
	}
	if auth == nil {
		auth = h.of(host).Auth
	}
	e, err := h.endpoint(host, path, false, auth)
	if err != nil {
		return nil, err
	}
	return append(all, e), nil
}

func (h *hosts) endpoint(host, path string, plain bool, auth *Auth) (endpoint, error) {
	var opts []name.Option
	if plain || h.of(host).PlainHTTP {
		opts = append(opts, name.Insecure)
	}
	registry, err := name.NewRegistry(host, opts...)
	if err != nil {
		return endpoint{}, fmt.Errorf("registry %s: %w: %w", host, err, fault.Invalid)
	}
	base, err := h.transport(host)
	if err != nil {
		return endpoint{}, err
	}
	e := endpoint{host: host, repo: registry.Repo(path), auth: auth.authenticator(), base: base}
	if len(opts) == 0 {
		e.base = &guarded{RoundTripper: base, loopback: isLoopback(host)}
	}
	return e, nil
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// guarded refuses to send anything in the clear to another machine. The library
// would fall back to HTTP for every private address, and with it send passwords.
type guarded struct {
	http.RoundTripper
	loopback bool

	mu        sync.Mutex
	untrusted error // why HTTPS failed, though it is spoken
}

func (t *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" {
		resp, err := t.RoundTripper.RoundTrip(req)
		var bad *tls.CertificateVerificationError
		if errors.As(err, &bad) {
			t.mu.Lock()
			t.untrusted = err
			t.mu.Unlock()
		}
		return resp, err
	}
	t.mu.Lock()
	untrusted := t.untrusted
	t.mu.Unlock()
	switch {
	case untrusted != nil:
		return nil, untrusted
	case !t.loopback:
		return nil, fmt.Errorf("%s speaks no HTTPS (set plainHTTP for this registry if that is meant): %w", req.URL.Host, fault.Precondition)
	}
	return t.RoundTripper.RoundTrip(req)
}

// authenticator puts the credentials into the library's form.
func (a *Auth) authenticator() authn.Authenticator {
	if a == nil || *a == (Auth{}) {
		return authn.Anonymous
	}
	return authn.FromConfig(authn.AuthConfig{
		Username:      a.Username,
		Password:      a.Password,
		IdentityToken: a.Identity,
		RegistryToken: a.Token,
	})
}

func (h *hosts) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.byHost {
		t.CloseIdleConnections()
	}
}
