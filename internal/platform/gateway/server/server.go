// Package server is Caddy around the gateway: it listens and speaks TLS and
// HTTP/1.1, 2 and 3. Before it stands a front that answers plain requests by
// itself and leaves all other connections to Caddy; beside it, what carries
// connections that are not HTTP, and the client of the public authority.
//
// Caddy's configuration holds ports and nothing else. Requests and certificates
// are looked up in what the API has last said, so that a change of routes is a
// pointer swap, and Caddy is told only of a port that is new or gone.
//
// Caddy keeps its one configuration in package variables, so a process runs one
// Server at a time.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/proxyprotocol"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	"k8s.io/client-go/kubernetes"
	gwclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/acme"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/oidc"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/proxy"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/stream"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/translate"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/watch"
)

// Server is a gateway.
type Server struct {
	cfg     gateway.Config
	clients watch.Clients
	log     *slog.Logger

	id    uint64
	set   *upstream.Set
	proxy *proxy.Proxy
	certs *cert.Store
	acme  *acme.Client // of public names; nil is none
	waker *watch.Waker

	streams *stream.Server
	tls     atomic.Pointer[tls.Config] // as Caddy answers with, for streams
	asked   atomic.Pointer[cert.Clients]

	doors    doors
	fronts   fronts
	draining atomic.Bool
	mu       sync.Mutex // of Caddy's configuration
	ports    ports
	told     bool // Caddy has a configuration
}

// lastID numbers the Servers of a process.
var lastID atomic.Uint64

// New returns a Server that asks the API which its settings name.
func New(cfg gateway.Config, log *slog.Logger) (*Server, error) {
	conf, err := restConfig(cfg.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("gateway: how to reach the API: %w", err)
	}
	kube, err := kubernetes.NewForConfig(conf)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	gws, err := gwclient.NewForConfig(conf)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return NewWith(cfg, watch.Clients{Kube: kube, Gateway: gws, Apps: watch.PatchApps(kube.CoreV1().RESTClient())}, log), nil
}

// NewWith returns a Server that asks the API through clients.
func NewWith(cfg gateway.Config, clients watch.Clients, log *slog.Logger) *Server {
	cfg = cfg.Defaulted()
	s := &Server{
		cfg: cfg, clients: clients, log: log, id: lastID.Add(1),
		set: upstream.NewSet(proxy.NewTransport), certs: &cert.Store{},
		waker: watch.NewWaker(clients.Apps, log),
	}
	s.fronts.byPort, s.fronts.lines = map[int]*front{}, map[*proxy.Line]struct{}{}
	hold := upstream.HoldConfig{Max: cfg.MaxHeld, Limit: cfg.HoldTime(), Again: time.Second}
	s.proxy = proxy.New(proxy.Config{Hold: hold, Trusted: cfg.Trusted(), Gate: oidc.New(log)}, s.waker, log)
	s.streams = stream.New(stream.Config{
		Hold: hold, ProxyProtocol: cfg.Proxies(), TLS: s.tls.Load,
		HTTPS: func(port int, name string) bool { return s.proxy.Table().Serves(port, name) },
	}, s.waker, log)
	return s
}

// authorityLimit is how long being ready waits for the local authority.
const authorityLimit = 5 * time.Second

// Run answers requests until ctx ends, and then those that are under way. It is
// ready when the routes are in force and every port is listened on.
func (s *Server) Run(ctx context.Context, ready func()) error {
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	if err := s.openACME(); err != nil {
		return fmt.Errorf("gateway: acme: %w", err)
	}
	running.Store(s.id, s)
	defer running.Delete(s.id)

	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	failed := make(chan error, 5)
	start := func(name string, run func(context.Context, func()) error, ready func()) {
		parts.Go(func() {
			if err := run(own, ready); err != nil && own.Err() == nil {
				failed <- fmt.Errorf("gateway: %s: %w", name, err)
			}
		})
	}
	// The successor's counters are the ones to ask for as soon as there is one.
	counting, stopCounting := context.WithCancel(own)
	defer stopCounting()
	start("counters", func(context.Context, func()) error { return s.runAdmin(counting) }, func() {})
	start("waker", s.waker.Run, func() {})
	inForce := make(chan struct{})
	ports := translate.Settings{HTTPPort: s.cfg.HTTPPort, HTTPSPort: s.cfg.HTTPSPort}
	w := watch.New(ports, s.clients, s.set, s.apply, s.log)
	start("watch", w.Run, func() { close(inForce) })
	vouched := make(chan struct{})
	start("authority", s.keepAuthority, sync.OnceFunc(func() { close(vouched) }))
	if s.acme != nil {
		start("acme", s.acme.Run, func() {})
	}

	var err error
	select {
	case <-inForce:
		// A predecessor goes when we are ready: local names need their certificates by
		// then. Without an authority all else is served all the same.
		select {
		case <-vouched:
		case <-time.After(authorityLimit):
		case <-ctx.Done():
		}
		err = s.markReady()
		if err == nil {
			ready()
			select {
			case <-ctx.Done():
			case err = <-failed:
			}
		}
	case <-ctx.Done():
	case err = <-failed:
	}
	stopCounting()
	// Endpoints still come and go while requests end.
	return errors.Join(err, s.stop())
}

// apply puts what became of the API's objects in force.
func (s *Server) apply(r translate.Result) {
	var given []cert.Given
	for _, c := range r.Certificates {
		if c.Pair != nil {
			given = append(given, cert.Given{Port: c.Port, Host: c.Hostname, Pair: c.Pair})
		}
	}
	s.certs.Swap(given)
	s.asked.Store(r.Clients)
	s.proxy.Swap(r.Table)
	closeOld, err := s.streams.Swap(r.Streams)
	if err := errors.Join(err, s.listen(portsOf(r))); err != nil {
		s.log.Error("ports not changed", "err", err)
	}
	if s.acme != nil {
		s.acme.Want(s.publicNames(r.Names))
	}
	// A port may have gone from one to the other, and has been listened on all along.
	closeOld()
}

// listen tells Caddy which ports there are, when they are others than before.
func (s *Server) listen(ports ports) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken error
	ports, taken = ports.free(s.ports)
	if s.draining.Load() || s.told && ports.equal(s.ports) {
		return taken
	}
	if err := caddy.Run(caddyConfig(s.id, s.cfg, ports)); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.ports, s.told = ports, true
	s.log.Info("listening", "ports", ports.binds)
	return taken
}

// serve answers one request. While the gateway drains, every answer asks the
// client to come back on another connection, which its successor takes.
func (s *Server) serve(port int, w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	if r.TLS != nil && s.misdirected(port, r) {
		http.Error(w, "421 Misdirected Request: connect anew for "+route.Host(r.Host), http.StatusMisdirectedRequest)
		return
	}
	s.proxy.Serve(port, w, r)
}

func (s *Server) markReady() error {
	if s.cfg.ReadyFile == "" {
		return nil
	}
	if err := os.WriteFile(s.cfg.ReadyFile, nil, 0o644); err != nil {
		return fmt.Errorf("gateway: say that it is ready: %w", err)
	}
	return nil
}

// runAdmin answers about this gateway. The one before it may still have the
// address, and answers until it goes.
func (s *Server) runAdmin(ctx context.Context) error {
	var l net.Listener
	for {
		var err error
		var lc net.ListenConfig
		if l, err = lc.Listen(ctx, "tcp", s.cfg.Admin); err == nil {
			break
		}
		s.log.Debug("address of counters is not free yet", "addr", s.cfg.Admin, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
	srv := &http.Server{Handler: s.admin(), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		err := srv.Close()
		<-done
		return err
	}
}
