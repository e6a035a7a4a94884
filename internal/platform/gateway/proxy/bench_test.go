package proxy

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// bench is a Proxy behind real listeners, with Services that exist only here.
type bench struct {
	*Proxy
	t        testing.TB
	set      *upstream.Set
	port     int // that rules are for
	url      string
	addr     string       // of url: requests come in by a Line, as they do in a gateway
	standard string       // the address at which they come in by net/http
	left     atomic.Int64 // connections that Lines left to net/http
	draining atomic.Bool
	wakes    chan string
}

type wakeTo chan string

func (w wakeTo) Wake(namespace, app string) { w <- namespace + "/" + app }

func newBench(t testing.TB, cfg Config) *bench {
	t.Helper()
	if cfg.Hold.Limit == 0 {
		cfg.Hold = upstream.HoldConfig{Max: 10, Limit: 5 * time.Second, Again: time.Second}
	}
	b := &bench{t: t, set: upstream.NewSet(NewTransport), wakes: make(chan string, 100)}
	b.Proxy = New(cfg, wakeTo(b.wakes), slog.New(slog.NewTextHandler(io.Discard, nil)))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.Serve(b.port, w, r) }))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	b.standard, b.port = s.Listener.Addr().String(), s.Listener.Addr().(*net.TCPAddr).Port
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = front.Addr().String()
	b.url = "http://" + b.addr
	leave := &leftOver{Listener: front, conns: make(chan net.Conn), closed: make(chan struct{})}
	var all sync.WaitGroup
	all.Go(func() { _ = s.Config.Serve(leave) })
	var open lineSet
	all.Go(func() { b.accept(front, leave, &open, &all) })
	t.Cleanup(func() {
		front.Close()
		open.close()
		_ = s.Config.Close() // which httptest leaves open
		s.Close()
		all.Wait()
		b.Wait()
	})
	return b
}

// accept serves connections by Lines, and leaves what is for net/http to it.
func (b *bench) accept(front net.Listener, leave *leftOver, open *lineSet, all *sync.WaitGroup) {
	for {
		c, err := front.Accept()
		if err != nil {
			return
		}
		line, err := b.NewLine(b.port, c.(*net.TCPConn), &b.draining)
		if err != nil {
			b.t.Error(err)
			return
		}
		open.add(line)
		all.Go(func() {
			if c := line.Serve(); c != nil {
				b.left.Add(1)
				leave.give(c)
			}
		})
	}
}

// lineSet is Lines that are to be closed.
type lineSet struct {
	mu    sync.Mutex
	lines []*Line
}

func (s *lineSet) add(l *Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
}

func (s *lineSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		l.Close()
	}
}

// leftOver is the listener of connections that are left to net/http.
type leftOver struct {
	net.Listener
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *leftOver) give(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		c.Close()
	}
}

func (l *leftOver) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *leftOver) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}
