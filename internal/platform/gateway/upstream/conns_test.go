package upstream

import (
	"net"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/tcp"
)

type noTransport struct{ Transport }

func (noTransport) CloseIdleConnections() {}

// reachable returns an endpoint at which somebody listens.
func reachable(t *testing.T) *Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &Endpoint{Addr: l.Addr().String(), transport: noTransport{}}
}

func dial(t *testing.T, e *Endpoint) *tcp.Conn {
	t.Helper()
	c, err := e.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func open(c *tcp.Conn) bool { return c.Quiet() }

func TestTheConnectionUsedLastIsTakenFirst(t *testing.T) {
	e := reachable(t)
	if c := e.Take(); c != nil {
		t.Errorf("Take = %v of none", c)
	}
	a, b := dial(t, e), dial(t, e)
	e.Keep(a, time.Now())
	e.Keep(b, time.Now())
	if got := []*tcp.Conn{e.Take(), e.Take(), e.Take()}; got[0] != b || got[1] != a || got[2] != nil {
		t.Errorf("taken = %v; want the last, the first, none", got)
	}
}

func TestConnectionsToAnEndpointThatLeftAreClosed(t *testing.T) {
	e := reachable(t)
	unused, used := dial(t, e), dial(t, e)
	e.Keep(unused, time.Now())
	e.Begin()
	e.retire()
	if open(unused) || !open(used) {
		t.Errorf("open: without a request %v, with one %v; want only the other", open(unused), open(used))
	}
	e.Keep(used, time.Now())
	e.Done()
	if open(used) || e.Take() != nil {
		t.Error("a connection was kept after its last request")
	}
}

func TestConnectionsThatNobodyUsesAreClosed(t *testing.T) {
	e := reachable(t)
	old, young := dial(t, e), dial(t, e)
	e.Keep(old, time.Now().Add(-2*keepIdle))
	e.Keep(young, time.Now())
	e.sweep()
	if open(old) || !open(young) {
		t.Errorf("open: the old one %v, the young one %v; want only the other", open(old), open(young))
	}
	if c := e.Take(); c != young {
		t.Errorf("Take = %v; want the young one", c)
	}
}

func TestNoMoreConnectionsAreKeptThanAreOfUse(t *testing.T) {
	e := reachable(t)
	for range maxIdle {
		e.Keep(dial(t, e), time.Now())
	}
	c := dial(t, e)
	e.Keep(c, time.Now())
	if open(c) {
		t.Error("one more than all was kept")
	}
}
