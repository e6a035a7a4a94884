package proxy

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// redirect answers with the address that the rule says, and with what it does
// not say taken from the request.
func redirect(x *exchange, w http.ResponseWriter, r *http.Request) {
	d := x.Filters.Redirect
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	// The port of a scheme goes without saying; when only the scheme changes, the
	// port becomes that scheme's.
	port := x.port
	if d.Scheme != "" {
		scheme, port = d.Scheme, 0
	}
	if d.Port != 0 {
		port = d.Port
	}
	host := route.Host(r.Host)
	if d.Host != "" {
		host = d.Host
	}
	if port != 0 && !(scheme == "http" && port == 80) && !(scheme == "https" && port == 443) {
		host = net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
	}
	u := *r.URL
	u.Scheme, u.Host = scheme, host
	edit(d.Path, x.Prefix, &u)
	code := d.Status
	if code == 0 {
		code = http.StatusFound
	}
	x.Filters.Response.Apply(w.Header())
	w.Header().Set("Location", u.String())
	w.WriteHeader(code)
}

// edit changes the path of u. The prefix that a rule matched by is replaced as
// whole segments, so that /a with / in its place leaves /b of /a/b.
func edit(e *route.PathEdit, prefix string, u *url.URL) {
	if e == nil {
		return
	}
	path := e.Value
	if e.Prefix {
		path = strings.TrimRight(e.Value, "/") + strings.TrimPrefix(u.Path, prefix)
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	u.Path, u.RawPath = path, ""
}

// applyRewrite changes what the backend sees of the address.
func applyRewrite(rw *route.Rewrite, prefix string, out *http.Request) {
	if rw == nil {
		return
	}
	if rw.Host != "" {
		out.Host = rw.Host
	}
	edit(rw.Path, prefix, out.URL)
}

// cors adds what a page of another origin must be told. It answers the question
// that a browser asks before such a page's request, and then returns true.
func cors(c *route.CORS, w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	allowed := slices.ContainsFunc(c.Origins, func(o string) bool { return originMatches(o, origin) })
	if allowed {
		h := w.Header()
		// The origin and not a star: that would not do for requests with cookies,
		// which a page may send whatever we answer.
		h.Add("Vary", "Origin")
		h.Set("Access-Control-Allow-Origin", origin)
		if c.Credentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		if preflight {
			listed(h, "Access-Control-Allow-Methods", c.Methods, c.Credentials, r.Header.Get("Access-Control-Request-Method"))
			listed(h, "Access-Control-Allow-Headers", c.Headers, c.Credentials, r.Header.Get("Access-Control-Request-Headers"))
			if c.MaxAge > 0 {
				h.Set("Access-Control-Max-Age", strconv.Itoa(c.MaxAge))
			}
		}
		listed(h, "Access-Control-Expose-Headers", c.Expose, c.Credentials, "")
	}
	if preflight {
		w.WriteHeader(http.StatusNoContent)
	}
	return preflight
}

// listed sets a header to a list. With credentials a star means itself, so what
// was asked for is named in its place.
func listed(h http.Header, name string, values []string, credentials bool, asked string) {
	switch {
	case len(values) == 0:
	case credentials && asked != "" && slices.Contains(values, "*"):
		h.Set(name, asked)
	default:
		h.Set(name, strings.Join(values, ", "))
	}
}

// originMatches compares an origin with one that is allowed, which may have a
// star for the beginning of its host or for all of it.
func originMatches(allowed, origin string) bool {
	if allowed == "*" || strings.EqualFold(allowed, origin) {
		return true
	}
	before, after, ok := strings.Cut(strings.ToLower(allowed), "*")
	o := strings.ToLower(origin)
	return ok && len(o) > len(before)+len(after) && strings.HasPrefix(o, before) && strings.HasSuffix(o, after)
}

// maxMirrored is the largest body that is kept for a copy of its request.
const maxMirrored = 1 << 20

// mirror sends copies of a request to the rule's mirrors. It never holds up the
// request: a body is copied as it is read, and a copy whose body grows too large
// is given up.
func (p *Proxy) mirror(x *exchange, r *http.Request) {
	mirrors := x.Filters.Mirrors
	if f := x.backend.Filters; f != nil && len(f.Mirrors) > 0 {
		mirrors = slices.Concat(mirrors, f.Mirrors)
	}
	for _, m := range mirrors {
		if m.Port == nil || rand.IntN(m.Denominator) >= m.Numerator {
			continue
		}
		if r.Body == nil || r.Body == http.NoBody {
			p.copies.Go(func() { p.sendCopy(x, m, r, nil) })
			continue
		}
		tee := &teed{ReadCloser: r.Body}
		tee.whole = func(body []byte) { p.copies.Go(func() { p.sendCopy(x, m, r, body) }) }
		r.Body = tee
	}
}

// sendCopy sends a copy and throws away its answer.
func (p *Proxy) sendCopy(x *exchange, m route.Mirror, r *http.Request, body []byte) {
	e := m.Port.Pick(rand.IntN, nil)
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 30*time.Second)
	defer cancel()
	req := r.Clone(ctx)
	req.URL.Scheme, req.URL.Host, req.RequestURI = "http", e.Addr, ""
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(string(body))), int64(len(body))
	if len(body) == 0 {
		req.Body = http.NoBody
	}
	p.forwarded(x, r, req.Header)
	x.Filters.Request.Apply(req.Header)
	transport := e.Begin()
	defer e.Done()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		p.log.Debug("mirrored request failed", "route", x.Route.Name, "service", m.Port.Service.Key, "err", err)
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxMirrored))
	_ = resp.Body.Close()
}

// teed keeps what is read of a body, and hands it on when it has been read to
// its end.
type teed struct {
	io.ReadCloser
	kept  []byte
	whole func([]byte)
}

func (t *teed) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if t.whole == nil {
		return n, err
	}
	if len(t.kept)+n > maxMirrored {
		t.kept, t.whole = nil, nil
		return n, err
	}
	t.kept = append(t.kept, b[:n]...)
	if err == io.EOF {
		t.whole(t.kept)
		t.whole = nil
	}
	return n, err
}
