package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

func TestAStreamArrivesAsItIsSent(t *testing.T) {
	next := make(chan struct{})
	addr := app(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, addr))})
	resp, err := http.Get(b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != "data: "+strconv.Itoa(i) {
			t.Fatalf("event %d = %q, %v", i, lines.Text(), lines.Err())
		}
		lines.Scan() // the empty line
		next <- struct{}{}
	}
}

func TestAnUpgradedConnectionGoesBothWays(t *testing.T) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			http.Error(w, "no upgrade", 400)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		fmt.Fprint(rw, "echo "+line)
		rw.Flush()
	})
	b := newBench(t, Config{})
	p := b.service("web", upstream.HTTP1, addr)
	b.rule(&route.Rule{Backends: to(p)})
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: web.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("upgrade = %v, %v; want 101", resp, err)
	}
	if p.Service.Stats.InFlight.Load() != 1 || p.Endpoints()[0].InFlight() != 1 {
		t.Errorf("in flight = %d, at the endpoint %d; an open connection is one", p.Service.Stats.InFlight.Load(), p.Endpoints()[0].InFlight())
	}
	fmt.Fprint(c, "hello\n")
	if line, err := in.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("answer = %q, %v; want echo hello", line, err)
	}
	c.Close()
	waitFor(t, "the connection is no longer counted", func() bool {
		return p.Service.Stats.InFlight.Load() == 0 && p.Endpoints()[0].InFlight() == 0
	})
}

func TestHTTP2GoesThroughWithItsTrailers(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		w.Header().Set("Proto", r.Proto)
		buf := make([]byte, 4)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set("Grpc-Status", "0")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("grpc", upstream.H2C, s.Listener.Addr().String()))})
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	// The answer begins before the request has ended, as in a call that streams.
	r, w := io.Pipe()
	req, _ := http.NewRequest("POST", b.url, r)
	req.Header.Set("Te", "trailers")
	go fmt.Fprint(w, "ping")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 4)
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "ping" {
		t.Fatalf("first message = %q, %v; want ping", buf, err)
	}
	w.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Proto") != "HTTP/2.0" || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("answer over %s with trailers %v; want HTTP/2.0 and Grpc-Status 0", resp.Header.Get("Proto"), resp.Trailer)
	}
}

func TestAClientThatHangsUpIsNoFailureOfTheApp(t *testing.T) {
	addr := app(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	b := newBench(t, Config{})
	p := b.service("web", upstream.HTTP1, addr)
	b.rule(&route.Rule{Backends: to(p)})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", b.url, nil)
	if _, err := http.DefaultClient.Do(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("GET = %v; want that the client gave up", err)
	}
	waitFor(t, "nothing in flight", func() bool { return p.Service.Stats.InFlight.Load() == 0 })
	if s := p.Service.Stats.Snapshot(); s.Failures != 0 {
		t.Errorf("counters = %+v; want no failure", s)
	}
}
