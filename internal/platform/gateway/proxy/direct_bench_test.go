package proxy

import (
	"bytes"
	"net"
	"testing"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// echoes answers each read with the same bytes.
func echoes(t testing.TB, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	text := []byte(answer)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					if _, err := c.Write(text); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// asker returns a function that sends a request and reads its answer.
func asker(t testing.TB, addr, text, answerEnd string) func() {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	request, end, b := []byte(text), []byte(answerEnd), make([]byte, 4096)
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		n := 0
		for !bytes.HasSuffix(b[:n], end) {
			m, err := c.Read(b[n:])
			if err != nil {
				t.Fatalf("%v after %q", err, b[:n])
			}
			n += m
		}
	}
}

func TestADirectRequestAllocatesNothing(t *testing.T) {
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, echoes(t, hello)))})
	ask := asker(t, b.addr, lines("GET /a?b=c HTTP/1.1", "Host: web.test", "Accept: */*", "User-Agent: test"), "hello")
	ask()
	// The date is made once a second, and a collection empties pools.
	if n := testing.AllocsPerRun(2000, ask); n >= 1 {
		t.Errorf("%.1f allocations a request; want none", n)
	}
}

func BenchmarkRequests(b *testing.B) {
	t := newBench(b, Config{})
	t.rule(&route.Rule{Backends: to(t.service("web", upstream.HTTP1, echoes(b, hello)))})
	for name, addr := range map[string]string{"direct": t.addr, "net-http": t.standard} {
		b.Run(name, func(b *testing.B) {
			ask := asker(b, addr, lines("GET /a?b=c HTTP/1.1", "Host: web.test", "Accept: */*", "User-Agent: test"), "hello")
			ask()
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
		})
	}
}
