package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// exchange is one request on its way.
type exchange struct {
	route.Found
	port    int
	client  netip.Addr
	in      *http.Request
	backend *route.Backend
	began   time.Time // when it was first sent to an endpoint
	counted bool
}

// exchangeKey is what an exchange is found by in a request's context.
type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// forward sends the request to the chosen backend and its answer back.
func (p *Proxy) forward(x *exchange, w http.ResponseWriter, r *http.Request) {
	ctx := context.WithValue(r.Context(), exchangeKey{}, x)
	if x.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, x.Timeout, errTimeout)
		defer cancel()
	}
	stats := &x.backend.Port.Service.Stats
	stats.InFlight.Add(1)
	defer stats.InFlight.Add(-1)
	x.began = time.Now()
	p.mirror(x, r)
	r = r.WithContext(ctx)
	if x.Policy != nil && x.Policy.Compress {
		p.compressed.ServeHTTP(w, r)
		return
	}
	p.reverse.ServeHTTP(w, r)
}

// rewrite makes the request that the backend sees.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	x, out := exchangeOf(pr.In.Context()), pr.Out
	out.Host = pr.In.Host
	out.URL.Scheme, out.URL.Host = "http", pr.In.Host
	// The proxy drops parameters that it cannot read; what they mean is for the
	// backend to say.
	out.URL.RawQuery = pr.In.URL.RawQuery
	p.forwarded(x, pr.In, out.Header)
	x.Filters.Request.Apply(out.Header)
	applyRewrite(x.Filters.Rewrite, x.Prefix, out)
	if f := x.backend.Filters; f != nil {
		f.Request.Apply(out.Header)
		applyRewrite(f.Rewrite, x.Prefix, out)
	}
	if out.Header.Get("Host") != "" {
		out.Host = out.Header.Get("Host")
		out.Header.Del("Host")
	}
}

// forwarded tells the backend who asks, by which name and how.
func (p *Proxy) forwarded(x *exchange, in *http.Request, h http.Header) {
	scheme := "http"
	if in.TLS != nil {
		scheme = "https"
	}
	peer, _, _ := net.SplitHostPort(in.RemoteAddr)
	hops, host, port := peer, in.Host, strconv.Itoa(x.port)
	if a, err := netip.ParseAddr(peer); err == nil && p.trusted(a.Unmap()) {
		if before := forwardedFor(in.Header); len(before) > 0 {
			hops = strings.Join(before, ", ") + ", " + peer
		}
		scheme = orHeader(in.Header, "X-Forwarded-Proto", scheme)
		host = orHeader(in.Header, "X-Forwarded-Host", host)
		port = orHeader(in.Header, "X-Forwarded-Port", port)
	}
	values := [...]string{hops, host, scheme, port, x.client.String()}
	for i, name := range forwardedNames {
		h[name] = values[i : i+1 : i+1]
	}
}

var forwardedNames = [...]string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-Ip"}

func orHeader(h http.Header, name, other string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	return other
}

// forwardedFor are the addresses that a request says to have come through.
func forwardedFor(h http.Header) []string {
	var hops []string
	for _, line := range h["X-Forwarded-For"] {
		for _, hop := range strings.Split(line, ",") {
			if hop = strings.TrimSpace(hop); hop != "" {
				hops = append(hops, hop)
			}
		}
	}
	return hops
}

// answered applies the rule to an answer before it goes out.
func (p *Proxy) answered(resp *http.Response) error {
	x := exchangeOf(resp.Request.Context())
	if resp.StatusCode == http.StatusSwitchingProtocols && x.in.Header.Get("Upgrade") == "" {
		return errSwitched
	}
	p.count(x, resp.StatusCode)
	if x.Filters.CORS != nil {
		// The rule speaks for the app, and two answers are none.
		for name := range resp.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				delete(resp.Header, name)
			}
		}
	}
	if f := x.backend.Filters; f != nil {
		f.Response.Apply(resp.Header)
	}
	x.Filters.Response.Apply(resp.Header)
	return nil
}

// failed answers when no backend did.
func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	if x.in.Context().Err() != nil {
		// The client has gone; there is nobody to tell, and no backend to blame.
		panic(http.ErrAbortHandler)
	}
	if cause := context.Cause(r.Context()); errors.Is(cause, errTimeout) {
		err = cause
	}
	code := status(err)
	p.count(x, code)
	p.log.Debug("request failed", "route", x.Route.Name, "service", x.backend.Port.Service.Key, "status", code, "err", err)
	refuse(w, code, x.backend.Port.Service.Key+": "+explain(err))
}

// explain leaves out addresses: they are for the log, not for clients.
func explain(err error) string {
	switch {
	case unreachable(err):
		return "no endpoint can be reached"
	case errors.Is(err, upstream.ErrNoEndpoints), errors.Is(err, upstream.ErrNotStarted), errors.Is(err, upstream.ErrTooManyHeld), errors.Is(err, errTimeout):
		return err.Error()
	case tooLarge(err):
		return "the request is larger than allowed"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "its certificate is not the one that it must have"
	}
	return "the connection ended before an answer"
}

func (p *Proxy) count(x *exchange, status int) {
	if x.counted {
		return
	}
	x.counted = true
	x.backend.Port.Service.Stats.Answered(time.Since(x.began), status >= 500)
}
