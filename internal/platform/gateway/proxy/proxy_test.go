package proxy

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// service makes a Service whose endpoints are at addrs.
func (b *bench) service(name string, protocol upstream.Protocol, addrs ...string) *upstream.Port {
	p := b.set.Service("shop/"+name).Port(80, protocol)
	p.SetAddrs(addrs, nil)
	return p
}

// rule puts one rule for everything in force.
func (b *bench) rule(r *route.Rule) {
	if len(r.Matches) == 0 {
		r.Matches = []route.Match{{}}
	}
	t, _ := route.Build([]route.Listener{{Port: b.port, Routes: []*route.Route{{Name: "HTTPRoute shop/web", Rules: []*route.Rule{r}}}}})
	b.Swap(t)
}

func to(ports ...*upstream.Port) []route.Backend {
	var out []route.Backend
	for _, p := range ports {
		out = append(out, route.Backend{Weight: 1, Port: p})
	}
	return out
}

// do sends a request and returns its answer with the body read.
func (b *bench) do(method, path, body string, headers ...string) (*http.Response, string) {
	b.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, b.url+path, in)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

// app is a backend, and its address.
func app(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func says(word string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, word)
	}
}

// deadAddr is an address at which nobody listens.
func deadAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestTheAppSeesWhoAskedAndHow(t *testing.T) {
	var got http.Header
	var host, uri string
	addr := app(t, func(_ http.ResponseWriter, r *http.Request) { got, host, uri = r.Header.Clone(), r.Host, r.RequestURI })
	for name, tt := range map[string]struct {
		trusted []netip.Prefix
		want    map[string]string
	}{
		"a stranger's word is not believed": {nil, map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Real-Ip": "127.0.0.1"}},
		"a trusted proxy's is": {[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, map[string]string{
			"X-Forwarded-For": "198.51.100.7, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Real-Ip": "198.51.100.7",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{Trusted: tt.trusted})
			b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, addr))})
			b.do("GET", "/a%2Fb?x=1;y=2", "", "Host: web.test", "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https", "Connection: X-Secret", "X-Secret: 1")
			for k, v := range tt.want {
				if got.Get(k) != v {
					t.Errorf("%s = %q; want %q", k, got.Get(k), v)
				}
			}
			if host != "web.test" || uri != "/a%2Fb?x=1;y=2" || got.Get("X-Secret") != "" {
				t.Errorf("the app got %s of %s with X-Secret %q; want the address as it was sent and no hop-by-hop header", uri, host, got.Get("X-Secret"))
			}
		})
	}
}

func TestAnEndpointThatRefusesIsPassedOver(t *testing.T) {
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, deadAddr(t), deadAddr(t), app(t, says("alive"))))})
	for i := range 20 {
		if resp, body := b.do("POST", "/", "order "+strconv.Itoa(i)); resp.StatusCode != 200 || body != "alive" {
			t.Fatalf("request %d = %d %q; want 200 from the endpoint that lives", i, resp.StatusCode, body)
		}
	}
}

func TestARequestThatWasSentIsNotSentAgain(t *testing.T) {
	var seen atomic.Int64
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler) // the connection ends without an answer
	})
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, addr, addr))})
	if resp, body := b.do("POST", "/", "order"); resp.StatusCode != 502 || seen.Load() != 1 {
		t.Errorf("POST = %d %q after %d attempts; want 502 after one", resp.StatusCode, body, seen.Load())
	}
}

func TestWhatTheGatewayAnswersItself(t *testing.T) {
	b := newBench(t, Config{})
	stuck := app(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server sees that its client has gone only after that
		<-r.Context().Done()
	})
	for name, tt := range map[string]struct {
		rule *route.Rule
		code int
		text string
	}{
		"a backend that is missing":   {&route.Rule{Backends: []route.Backend{{Weight: 1, Missing: "there is no Service shop/web"}}}, 500, "there is no Service shop/web"},
		"no backend":                  {&route.Rule{}, 500, "no backend has a weight"},
		"backends without a weight":   {&route.Rule{Backends: []route.Backend{{Port: b.service("x", upstream.HTTP1, deadAddr(t))}}}, 500, "no backend has a weight"},
		"no endpoint":                 {&route.Rule{Backends: to(b.service("empty", upstream.HTTP1))}, 503, "no endpoint is ready"},
		"no endpoint that answers":    {&route.Rule{Backends: to(b.service("dead", upstream.HTTP1, deadAddr(t)))}, 503, "no endpoint can be reached"},
		"an app that takes too long":  {&route.Rule{Timeout: 50 * time.Millisecond, Backends: to(b.service("stuck", upstream.HTTP1, stuck))}, 504, "no answer in time"},
		"an attempt that takes long":  {&route.Rule{BackendTimeout: 50 * time.Millisecond, Backends: to(b.service("stuck2", upstream.HTTP1, stuck))}, 504, "no answer in time"},
		"a body larger than allowed":  {&route.Rule{Policy: &route.Policy{MaxBody: 3}, Backends: to(b.service("any", upstream.HTTP1, app(t, says("ok"))))}, 413, "larger than allowed"},
		"HTTP where HTTPS is ordered": {&route.Rule{Policy: &route.Policy{HTTPSOnly: true}, Backends: to(b.service("any", upstream.HTTP1))}, 308, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b.rule(tt.rule)
			resp, body := b.do("POST", "/", "four")
			if resp.StatusCode != tt.code || !strings.Contains(body, tt.text) {
				t.Errorf("POST = %d %q; want %d with %q", resp.StatusCode, body, tt.code, tt.text)
			}
			if (tt.code == 503) != (resp.Header.Get("Retry-After") != "") {
				t.Errorf("Retry-After = %q with %d", resp.Header.Get("Retry-After"), tt.code)
			}
		})
	}
	b.Swap(&route.Table{})
	if resp, body := b.do("GET", "/x", "", "Host: web.test"); resp.StatusCode != 404 || !strings.Contains(body, "no route for web.test/x") {
		t.Errorf("GET without a route = %d %q; want 404 that names it", resp.StatusCode, body)
	}
}

func TestRequestsAreHeldWhileAnAppStarts(t *testing.T) {
	b := newBench(t, Config{Hold: upstream.HoldConfig{Max: 3, Limit: 5 * time.Second, Again: time.Minute}})
	p := b.service("web", upstream.HTTP1)
	p.Service.SetApp("web")
	b.rule(&route.Rule{Backends: to(p)})
	answers := make(chan string, 3)
	for range 3 {
		go func() {
			resp, body := b.do("POST", "/", "order")
			answers <- fmt.Sprint(resp.StatusCode, " ", body)
		}()
	}
	if got := <-b.wakes; got != "shop/web" {
		t.Errorf("woken = %s; want shop/web", got)
	}
	waitFor(t, "three requests held", func() bool { return p.Service.Stats.Held.Load() == 3 })
	if n := p.Service.Stats.InFlight.Load(); n != 0 {
		t.Errorf("%d requests are in flight while all are held", n)
	}
	if resp, body := b.do("GET", "/", ""); resp.StatusCode != 503 || !strings.Contains(body, "too many requests wait") {
		t.Errorf("the fourth request = %d %q; want 503", resp.StatusCode, body)
	}
	p.SetAddrs([]string{app(t, says("awake"))}, nil)
	for range 3 {
		if got := <-answers; got != "200 awake" {
			t.Errorf("held request = %q; want 200 awake", got)
		}
	}
	if n := len(b.wakes); n != 0 {
		t.Errorf("the App was woken %d times more; want once for all", n)
	}
}

func TestAHeldRequestGivesUp(t *testing.T) {
	b := newBench(t, Config{Hold: upstream.HoldConfig{Max: 3, Limit: 50 * time.Millisecond, Again: time.Minute}})
	p := b.service("web", upstream.HTTP1)
	p.Service.SetApp("web")
	b.rule(&route.Rule{Backends: to(p)})
	if resp, body := b.do("GET", "/", ""); resp.StatusCode != 503 || !strings.Contains(body, "did not start in time") {
		t.Errorf("GET = %d %q; want 503", resp.StatusCode, body)
	}
	// A client that hangs up is not held on.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", b.url, nil)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("a request without an endpoint was answered within 10 ms")
	}
	waitFor(t, "nothing held", func() bool { return p.Service.Stats.Held.Load() == 0 })
}

func TestAnEndpointThatLeftFinishesWhatItHas(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	leaving := app(t, func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		fmt.Fprint(w, "leaving")
	})
	b := newBench(t, Config{})
	p := b.service("web", upstream.HTTP1, leaving)
	b.rule(&route.Rule{Backends: to(p)})
	first := make(chan string)
	go func() { _, body := b.do("GET", "/", ""); first <- body }()
	<-began
	p.SetAddrs([]string{app(t, says("next"))}, nil)
	for range 10 {
		if _, body := b.do("GET", "/", ""); body != "next" {
			t.Fatalf("a new request went to %q; want next", body)
		}
	}
	close(finish)
	if got := <-first; got != "leaving" {
		t.Errorf("the request under way = %q; want leaving", got)
	}
}

func TestWeightsDivideRequests(t *testing.T) {
	b := newBench(t, Config{})
	old, next := b.service("old", upstream.HTTP1, app(t, says("old"))), b.service("new", upstream.HTTP1, app(t, says("new")))
	b.rule(&route.Rule{Backends: []route.Backend{{Weight: 80, Port: old}, {Weight: 20, Port: next}}})
	n := 0
	for range 1000 {
		w := httptest.NewRecorder()
		b.Serve(b.port, w, httptest.NewRequest("GET", "/", nil))
		if w.Body.String() == "new" {
			n++
		}
	}
	if n < 140 || n > 260 {
		t.Errorf("%d of 1000 requests went to the backend with a weight of 20 in 100; want about 200", n)
	}
}

func TestAStickyClientStays(t *testing.T) {
	b := newBench(t, Config{})
	old, next := b.service("old", upstream.HTTP1, app(t, says("old"))), b.service("new", upstream.HTTP1, app(t, says("new")))
	split := func(s *route.Sticky, share int) {
		b.rule(&route.Rule{Sticky: s, Backends: []route.Backend{{Weight: share, Port: next}, {Weight: 100 - share, Port: old}}})
	}
	for name, tt := range map[string]struct {
		sticky *route.Sticky
		header func(client int) string
	}{
		"by a header": {&route.Sticky{By: route.ByHeader, Name: "X-User"}, func(c int) string { return "X-User: user-" + strconv.Itoa(c) }},
		"by a cookie": {&route.Sticky{By: route.ByCookie, Name: "c"}, func(c int) string { return "Cookie: c=id" + strconv.Itoa(c) }},
	} {
		t.Run(name, func(t *testing.T) {
			came := 0
			for c := range 100 {
				split(tt.sticky, 20)
				_, before := b.do("GET", "/", "", tt.header(c))
				_, again := b.do("GET", "/", "", tt.header(c))
				split(tt.sticky, 50)
				_, after := b.do("GET", "/", "", tt.header(c))
				if before != again || before == "new" && after != "new" {
					t.Fatalf("client %d saw %s, %s, and %s when the share grew", c, before, again, after)
				}
				if before == "new" {
					came++
				}
			}
			if came < 8 || came > 35 {
				t.Errorf("%d of 100 clients see the new version at 20 %%", came)
			}
		})
	}
	split(&route.Sticky{By: route.ByCookie}, 50)
	if resp, _ := b.do("GET", "/", ""); len(resp.Cookies()) != 1 || resp.Cookies()[0].Name != cookieName || !resp.Cookies()[0].HttpOnly {
		t.Errorf("cookies = %v; want one that scripts cannot read", resp.Cookies())
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func TestAnHTTPSAppMustProveWhoItIs(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS.ServerName) }))
	defer s.Close()
	roots := []*x509.Certificate{s.Certificate()}
	for name, tt := range map[string]struct {
		who  *upstream.TLS
		want int
	}{
		"its name, by its authority":       {&upstream.TLS{ServerName: "example.com", Roots: roots}, 200},
		"another name":                     {&upstream.TLS{ServerName: "example.org", Roots: roots}, 502},
		"another authority":                {&upstream.TLS{ServerName: "example.com"}, 502},
		"nobody says who":                  {nil, 502},
		"nobody is to say":                 {&upstream.TLS{Unverified: true}, 200},
		"one of several names":             {&upstream.TLS{ServerName: "asked.test", Roots: roots, Names: []string{"x.test", "example.com"}}, 200},
		"a wildcard that it has":           {&upstream.TLS{ServerName: "asked.test", Roots: roots, Names: []string{"*.example.com"}}, 200},
		"a wildcard that it has not":       {&upstream.TLS{ServerName: "asked.test", Roots: roots, Names: []string{"*.com"}}, 502},
		"none of several names":            {&upstream.TLS{ServerName: "example.com", Roots: roots, Names: []string{"x.test"}}, 502},
		"a URI that it has not":            {&upstream.TLS{ServerName: "example.com", Roots: roots, URIs: []string{"spiffe://x"}}, 502},
		"its name, by another's authority": {&upstream.TLS{ServerName: "example.com", Names: []string{"example.com"}}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			p := b.set.Service("shop/web").SecurePort(80, tt.who)
			p.SetAddrs([]string{s.Listener.Addr().String()}, nil)
			b.rule(&route.Rule{Backends: to(p)})
			resp, body := b.do("GET", "/", "")
			if resp.StatusCode != tt.want || tt.want == 502 && !strings.Contains(body, "its certificate is not the one that it must have") {
				t.Errorf("GET = %d %q; want %d", resp.StatusCode, body, tt.want)
			}
			if tt.want == 200 && tt.who.ServerName != body {
				t.Errorf("the backend was asked for %q; want %q", body, tt.who.ServerName)
			}
		})
	}
}

func TestAnswersAreCompressedWhereThatIsAskedFor(t *testing.T) {
	b := newBench(t, Config{})
	b.rule(&route.Rule{Policy: &route.Policy{Compress: true}, Backends: to(b.service("web", upstream.HTTP1, app(t, says(strings.Repeat("sampan ", 1000)))))})
	if resp, body := b.do("GET", "/", "", "Accept-Encoding: gzip"); resp.Header.Get("Content-Encoding") != "gzip" || len(body) > 1000 {
		t.Errorf("answer of %d bytes, Content-Encoding %q; want gzip", len(body), resp.Header.Get("Content-Encoding"))
	}
	if resp, _ := b.do("GET", "/", "", "Accept-Encoding: identity"); resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("Content-Encoding = %q for a client that wants none", resp.Header.Get("Content-Encoding"))
	}
}

func TestARateIsOfEachClient(t *testing.T) {
	rs, now := newRates(), time.Now()
	r, rate := &route.Route{Name: "HTTPRoute shop/web"}, route.Rate{PerSecond: 2, Burst: 2}
	a, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i, tt := range []struct {
		client netip.Addr
		after  time.Duration
		want   bool
	}{{a, 0, true}, {a, 0, true}, {a, 0, false}, {other, 0, true}, {a, 500 * time.Millisecond, true}, {a, 500 * time.Millisecond, false}} {
		if got := rs.take(r, tt.client, rate, now.Add(tt.after)); got != tt.want {
			t.Errorf("request %d of %s after %s = %v; want %v", i, tt.client, tt.after, got, tt.want)
		}
	}
}

func TestALoginIsAskedFor(t *testing.T) {
	b := newBench(t, Config{})
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	b.rule(&route.Rule{Policy: &route.Policy{Users: map[string]string{"ann": string(hash)}, Realm: "shop"}, Backends: to(b.service("web", upstream.HTTP1, app(t, says("in"))))})
	for name, tt := range map[string]struct {
		user, password string
		want           int
	}{
		"nobody":             {"", "", 401},
		"a wrong password":   {"ann", "guess", 401},
		"an unknown name":    {"bob", "secret", 401},
		"the right password": {"ann", "secret", 200},
		"and once more":      {"ann", "secret", 200},
	} {
		t.Run(name, func(t *testing.T) {
			auth := "Basic " + base64.StdEncoding.EncodeToString([]byte(tt.user+":"+tt.password))
			if resp, _ := b.do("GET", "/", "", "Authorization: "+auth); resp.StatusCode != tt.want {
				t.Errorf("GET = %d; want %d", resp.StatusCode, tt.want)
			}
		})
	}
}
