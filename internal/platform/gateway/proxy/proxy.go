// Package proxy sends requests where the routing table says.
//
// A request is looked up, changed by its rule's filters and sent to an endpoint
// of one of the rule's backends. One that finds no endpoint is held when its
// Service belongs to an App that can be started. One that finds an endpoint
// that does not answer goes to another, as long as nothing of it has been sent.
package proxy

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzhttp"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// Config holds the settings of a Proxy.
type Config struct {
	Hold upstream.HoldConfig

	// Trusted are the proxies in front of this one, whose X-Forwarded headers are
	// believed. Everybody else's are replaced.
	Trusted []netip.Prefix

	Gate Gate // of rules that ask for a login
}

// Proxy answers requests by the table it was given last.
type Proxy struct {
	cfg   Config
	log   *slog.Logger
	hold  *upstream.Hold
	table atomic.Pointer[route.Table]

	rates  *rates
	logins *logins
	copies sync.WaitGroup // of requests, on their way to mirrors

	reverse    httputil.ReverseProxy
	compressed http.Handler // reverse, with answers compressed

	desks sync.Pool // *desk, for requests that are read here
	date  date
}

// New returns a Proxy without any route.
func New(cfg Config, waker upstream.Waker, log *slog.Logger) *Proxy {
	p := &Proxy{cfg: cfg, log: log, hold: upstream.NewHold(cfg.Hold, waker), rates: newRates(), logins: newLogins()}
	p.table.Store(&route.Table{})
	p.desks.New = newDesk
	p.reverse = httputil.ReverseProxy{
		Rewrite: p.rewrite, Transport: p, ModifyResponse: p.answered, ErrorHandler: p.failed,
		BufferPool: newBuffers(), ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	p.compressed = gzhttp.GzipHandler(&p.reverse)
	return p
}

// Swap puts a table in the place of the one before, at once and for all
// requests that come after.
func (p *Proxy) Swap(t *route.Table) { p.table.Store(t) }

// Wait returns when the copies for mirrors have been sent. No request must be
// under way.
func (p *Proxy) Wait() { p.copies.Wait() }

// Table is the table in force.
func (p *Proxy) Table() *route.Table { return p.table.Load() }

// Serve answers a request that came in on port.
func (p *Proxy) Serve(port int, w http.ResponseWriter, r *http.Request) {
	found, ok := p.table.Load().Lookup(port, r)
	if !ok {
		refuse(w, http.StatusNotFound, "no route for "+route.Host(r.Host)+r.URL.Path)
		return
	}
	x := &exchange{Found: found, port: port, client: p.client(r), in: r}
	if x.Policy != nil && !p.allow(x, w, r) {
		return
	}
	f := &x.Filters
	if f.CORS != nil && cors(f.CORS, w, r) {
		return
	}
	if f.Redirect != nil {
		redirect(x, w, r)
		return
	}
	x.backend = choose(x, w, r)
	switch {
	case x.backend == nil:
		refuse(w, http.StatusInternalServerError, x.Route.Name+": no backend has a weight")
		return
	case x.backend.Filters != nil && x.backend.Filters.Redirect != nil:
		x.Filters.Redirect = x.backend.Filters.Redirect
		redirect(x, w, r)
		return
	case x.backend.Port == nil:
		refuse(w, http.StatusInternalServerError, x.Route.Name+": "+x.backend.Missing)
		return
	}
	p.forward(x, w, r)
}

// choose takes one of the backends by their weights: the same one for the same
// client where the rule is sticky, otherwise any.
func choose(x *exchange, w http.ResponseWriter, r *http.Request) *route.Backend {
	random := rand.IntN
	if x.Sticky != nil {
		random = func(total int) int { return int(share(x.Sticky, x.client, w, r) * float64(total)) }
	}
	return byWeight(x.Backends, random)
}

// byWeight takes the backend at a place on the line that all divide by their
// weights, or nil when none has a weight.
func byWeight(backends []route.Backend, place func(total int) int) *route.Backend {
	if len(backends) == 1 && backends[0].Weight > 0 {
		return &backends[0]
	}
	total := 0
	for i := range backends {
		total += backends[i].Weight
	}
	if total == 0 {
		return nil
	}
	n := place(total)
	for i := range backends {
		if n -= backends[i].Weight; n < 0 {
			return &backends[i]
		}
	}
	return nil
}

// client is the address that a request comes from: the peer's, or what the
// trusted proxies in front say.
func (p *Proxy) client(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	addr := peer.Addr().Unmap()
	if len(p.cfg.Trusted) == 0 || !p.trusted(addr) {
		return addr
	}
	hops := forwardedFor(r.Header)
	for _, hop := range slices.Backward(hops) {
		a, err := netip.ParseAddr(hop)
		if err != nil {
			return addr
		}
		if addr = a.Unmap(); !p.trusted(addr) {
			return addr
		}
	}
	return addr
}

func (p *Proxy) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(p.cfg.Trusted, func(n netip.Prefix) bool { return n.Contains(a) })
}

// refuse answers for the gateway itself, with one line that says why.
func refuse(w http.ResponseWriter, status int, why string) {
	h := w.Header()
	h.Set("Content-Type", plainText)
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(refusal(status, why)))
}

const plainText = "text/plain; charset=utf-8"

func refusal(status int, why string) string {
	return strconv.Itoa(status) + " " + http.StatusText(status) + ": " + why + "\n"
}

// status is what a failure to reach a backend is answered with.
func status(err error) int {
	var timeout net.Error
	switch {
	case errors.Is(err, upstream.ErrNoEndpoints), errors.Is(err, upstream.ErrTooManyHeld), errors.Is(err, upstream.ErrNotStarted), unreachable(err):
		return http.StatusServiceUnavailable
	case errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout
	case tooLarge(err):
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadGateway
}
