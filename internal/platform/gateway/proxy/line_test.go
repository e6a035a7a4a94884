package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// A connection that the backend closes while it has nothing to do is no failure,
// whichever request finds that out.
func TestAKeptConnectionThatWasClosedIsNotMissed(t *testing.T) {
	b := newBench(t, Config{})
	backend := newScript(t, hello, true) // closes after each answer, without saying so
	p := b.service("web", upstream.HTTP1, backend.addr)
	b.rule(&route.Rule{Backends: to(p)})
	for _, text := range []string{lines("GET / HTTP/1.1", "Host: web.test"), lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 5") + "hello"} {
		for range 20 {
			got := talk(t, b.addr, text, []string{"GET"}, 1<<20)
			if !strings.HasPrefix(got[0], "200 ") {
				t.Fatalf("%q is answered with %s", text, got)
			}
		}
	}
	if n := b.left.Load(); n != 0 {
		t.Errorf("%d connections were left to net/http", n)
	}
}

// What a backend says unasked is nobody's answer, least of all the next client's.
func TestWhatComesUnaskedIsNoAnswer(t *testing.T) {
	b := newBench(t, Config{})
	backend := newScript(t, hello, false)
	backend.after = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, backend.addr))})
	for range 5 {
		got := talk(t, b.addr, lines("GET / HTTP/1.1", "Host: web.test"), []string{"GET"}, 1<<20)
		if !strings.HasPrefix(got[0], "200 ") || got[1] != "open" {
			t.Fatalf("answered with %s; want 200 each time", got)
		}
	}
}

func TestASlowRequestIsLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, newScript(t, hello, false).addr))})
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: ")
	began := time.Now()
	waitFor(t, "the connection is left to net/http", func() bool { return b.left.Load() == 1 })
	if took := time.Since(began); took > restMost+time.Second {
		t.Errorf("it was waited for %s; want %s", took, restMost)
	}
	_, _ = io.WriteString(c, "web.test\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("answer = %v, %v; want 200", resp, err)
	}
}

func TestARequestThatNobodyTakesIsLeft(t *testing.T) {
	b := newBench(t, Config{})
	p := b.service("web", upstream.HTTP1, deadAddr(t), newScript(t, hello, false).addr)
	b.rule(&route.Rule{Backends: to(p)})
	for range 20 {
		if got := talk(t, b.addr, lines("POST / HTTP/1.1", "Host: web.test", "Content-Length: 5")+"hello", []string{"POST"}, 1<<20); !strings.HasPrefix(got[0], "200 ") {
			t.Fatalf("answered with %s; want that another endpoint is tried", got)
		}
	}
}

func TestADrainingLineAsksToComeBack(t *testing.T) {
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, newScript(t, hello, false).addr))})
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for _, draining := range []bool{false, true} {
		b.draining.Store(draining)
		_, _ = io.WriteString(c, lines("GET / HTTP/1.1", "Host: web.test"))
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.Close != draining {
			t.Errorf("draining %v: the answer ends the connection: %v", draining, resp.Close)
		}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after the last answer: %v; want that it is closed", err)
	}
}

func TestALineIsClosedBetweenRequestsOnly(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, app(t, func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		fmt.Fprint(w, "hello")
	})))})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	line, err := b.NewLine(b.port, accepted.(*net.TCPConn), &b.draining)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); line.Serve() }()
	_, _ = io.WriteString(c, lines("GET / HTTP/1.1", "Host: web.test"))
	<-began
	if line.CloseIdle() {
		t.Error("a connection with a request was closed")
	}
	close(finish)
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "hello" {
		t.Errorf("answer = %q; want hello", body)
	}
	waitFor(t, "the connection is idle", line.CloseIdle)
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after CloseIdle: %v; want that it is closed", err)
	}
	<-done
}

// A client that goes while its answer takes long takes the backend's connection
// with it, and is not the backend's failure.
func TestAClientThatHangsUpFreesTheBackend(t *testing.T) {
	gone := make(chan struct{})
	b := newBench(t, Config{})
	p := b.service("web", upstream.HTTP1, app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
		gone <- struct{}{}
	}))
	b.rule(&route.Rule{Backends: to(p)})
	for _, path := range []string{"/silent", "/stream"} {
		before := p.Service.Stats.Snapshot()
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, lines("GET "+path+" HTTP/1.1", "Host: web.test"))
		time.Sleep(patienceMost + 100*time.Millisecond)
		c.Close()
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: the backend was not told in 5 s", path)
		}
		waitFor(t, "nothing in flight", func() bool { return p.Service.Stats.InFlight.Load() == 0 && p.Endpoints()[0].InFlight() == 0 })
		if after := p.Service.Stats.Snapshot(); after.Failures != before.Failures {
			t.Errorf("%s: %d failures were counted", path, after.Failures-before.Failures)
		}
	}
}

func TestAnAnswerMayTakeItsTime(t *testing.T) {
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, app(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			time.Sleep(patienceMost + 50*time.Millisecond)
			fmt.Fprint(w, i)
			_ = http.NewResponseController(w).Flush()
		}
	})))})
	text := lines("GET / HTTP/1.1", "Host: web.test")
	// The second is sent while the first is waited for.
	got := talk(t, b.addr, text+text, []string{"GET", "GET"}, 1<<20)
	if len(got) != 3 || !strings.Contains(got[0], `"012"`) || !strings.Contains(got[1], `"012"`) || got[2] != "open" {
		t.Errorf("answers = %s; want 012 twice", got)
	}
}

func TestOtherProtocolsAreLeft(t *testing.T) {
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, app(t, says("hello"))))})
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	req, _ := http.NewRequest("GET", "http://"+b.addr, nil)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.ProtoMajor != 2 || string(body) != "hello" {
		t.Errorf("answer = %s %q; want hello by HTTP/2", resp.Proto, body)
	}
}

// A trusted proxy in front is believed, which only net/http's way knows how to.
func TestWhatATrustedProxySaysIsKept(t *testing.T) {
	b := newBench(t, Config{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	backend := newScript(t, hello, false)
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, backend.addr))})
	talk(t, b.addr, lines("GET / HTTP/1.1", "Host: web.test", "X-Forwarded-For: 192.0.2.1"), []string{"GET"}, 1<<20)
	if asked := backend.take(); len(asked) != 1 || !strings.Contains(asked[0], "X-Forwarded-For:[192.0.2.1, 127.0.0.1]") {
		t.Errorf("the backend sees %s; want both addresses", asked)
	}
}

func TestWeightsDivideDirectRequests(t *testing.T) {
	b := newBench(t, Config{})
	old, next := b.service("old", upstream.HTTP1, newScript(t, hello, false).addr), b.service("new", upstream.HTTP1, newScript(t, strings.ReplaceAll(hello, "hello", "HELLO"), false).addr)
	b.rule(&route.Rule{Backends: []route.Backend{{Weight: 80, Port: old}, {Weight: 20, Port: next}}})
	const n = 500
	got := talk(t, b.addr, strings.Repeat(lines("GET / HTTP/1.1", "Host: web.test"), n), slices.Repeat([]string{"GET"}, n), 1<<20)
	came := strings.Count(strings.Join(got, ""), "HELLO")
	if left := b.left.Load(); left != 0 {
		t.Errorf("net/http had to answer on %d connections", left)
	}
	if len(got) != n+1 || came < n/10 || came > n*3/10 {
		t.Errorf("%d of %d answers are of the backend with a weight of 20 in 100", came, len(got)-1)
	}
}

// The middle of a large answer must not depend on where it is cut.
func TestALargeAnswerIsWhole(t *testing.T) {
	body := make([]byte, 3<<20)
	for i := range body {
		body[i] = byte(i * i >> 7)
	}
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		_, _ = w.Write(body)
	})))})
	for _, path := range []string{"/length", "/chunks"} {
		resp, err := http.Get("http://" + b.addr + path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes, %v; want the %d that were sent", path, len(got), err, len(body))
		}
	}
}
