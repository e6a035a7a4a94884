package proxy

import (
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// allow tells whether a request may go on by the rule's policy. It has answered
// the request when not.
func (p *Proxy) allow(x *exchange, w http.ResponseWriter, r *http.Request) bool {
	pol := x.Policy
	switch {
	case pol.HTTPSOnly && r.TLS == nil:
		x.Filters.Redirect = &route.Redirect{Scheme: "https", Status: http.StatusPermanentRedirect}
		redirect(x, w, r)
		return false
	case pol.Rate != nil && !p.rates.take(x.Route, x.client, *pol.Rate, time.Now()):
		w.Header().Set("Retry-After", strconv.Itoa(int(1/pol.Rate.PerSecond)+1))
		refuse(w, http.StatusTooManyRequests, "more than "+strconv.FormatFloat(pol.Rate.PerSecond, 'g', -1, 64)+" requests a second")
		return false
	case pol.Users != nil && !p.logins.ok(pol.Users, r):
		w.Header().Set("WWW-Authenticate", `Basic realm=`+strconv.Quote(pol.Realm)+`, charset="UTF-8"`)
		refuse(w, http.StatusUnauthorized, "a name and password are needed")
		return false
	case pol.Login != nil && !p.letIn(pol.Login, w, r):
		return false
	case pol.MaxBody > 0 && r.ContentLength > pol.MaxBody:
		refuse(w, http.StatusRequestEntityTooLarge, "the request is larger than allowed")
		return false
	}
	if pol.MaxBody > 0 && r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, pol.MaxBody)
	}
	return true
}

// Gate lets people in who have logged in elsewhere. It answers the requests that
// it does not let through.
type Gate interface {
	Allow(l *route.Login, w http.ResponseWriter, r *http.Request, secure bool) bool
}

// letIn asks the gate. Without one nobody is let in.
func (p *Proxy) letIn(l *route.Login, w http.ResponseWriter, r *http.Request) bool {
	if p.cfg.Gate == nil {
		refuse(w, http.StatusServiceUnavailable, "nobody can log in here")
		return false
	}
	secure := r.TLS != nil
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && p.trusted(peer.Addr().Unmap()) {
		secure = orHeader(r.Header, "X-Forwarded-Proto", map[bool]string{true: "https"}[secure]) == "https"
	}
	return p.cfg.Gate.Allow(l, w, r, secure)
}

// rates counts the requests of each client to each route in token buckets.
type rates struct {
	mu      sync.Mutex
	buckets map[bucketKey]*bucket
	swept   time.Time
}

type bucketKey struct {
	route  string
	client netip.Addr
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newRates() *rates { return &rates{buckets: map[bucketKey]*bucket{}} }

func (rs *rates) take(r *route.Route, client netip.Addr, rate route.Rate, now time.Time) bool {
	// One customer of a network provider has a whole /64.
	if client.Is6() {
		if p, err := client.Prefix(64); err == nil {
			client = p.Addr()
		}
	}
	burst := max(float64(rate.Burst), 1)
	key := bucketKey{r.Name, client}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.sweep(now)
	b, ok := rs.buckets[key]
	if !ok {
		b = &bucket{tokens: burst, at: now}
		rs.buckets[key] = b
	}
	b.tokens = min(burst, b.tokens+now.Sub(b.at).Seconds()*rate.PerSecond)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// sweep forgets clients that have not been seen for ten minutes.
func (rs *rates) sweep(now time.Time) {
	if now.Sub(rs.swept) < time.Minute {
		return
	}
	rs.swept = now
	for k, b := range rs.buckets {
		if now.Sub(b.at) > 10*time.Minute {
			delete(rs.buckets, k)
		}
	}
}

// logins remembers the passwords that were right: bcrypt takes 50 ms by design,
// and a browser sends the password with every request. A name and password are
// kept as a hash together with the hash they were compared with, so another
// password in the Secret ends them.
type logins struct {
	mu    sync.Mutex
	right map[[sha256.Size]byte]struct{}
}

func newLogins() *logins { return &logins{right: map[[sha256.Size]byte]struct{}{}} }

// maxLogins is how many logins are remembered.
const maxLogins = 10_000

func (l *logins) ok(users map[string]string, r *http.Request) bool {
	name, password, ok := r.BasicAuth()
	if !ok {
		return false
	}
	hash, ok := users[name]
	if !ok {
		return false
	}
	key := sha256.Sum256([]byte(hash + "\x00" + name + "\x00" + password))
	l.mu.Lock()
	_, known := l.right[key]
	l.mu.Unlock()
	if known {
		return true
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.right) >= maxLogins {
		clear(l.right)
	}
	l.right[key] = struct{}{}
	return true
}
