package upstream

import (
	"net"
	"testing"
	"time"
)

// nobody wakes no one.
type nobody struct{}

func (nobody) Wake(string, string) {}

func TestARequestThatIsHeldGoesToACopyAsSoonAsItListens(t *testing.T) {
	p, _ := newPort(t)
	p.Service.SetApp("web")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // the copy has an address and does not listen yet
	p.SetAddrs(nil, []string{addr})
	hold := NewHold(HoldConfig{Max: 10, Limit: 5 * time.Second, Again: time.Second}, nobody{})
	done := make(chan error, 1)
	go func() { done <- hold.Wait(t.Context(), p) }()
	select {
	case err := <-done:
		t.Fatalf("Wait = %v before the copy listened", err)
	case <-time.After(30 * time.Millisecond):
	}
	l, err = net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := <-done; err != nil {
		t.Fatalf("Wait = %v", err)
	}
	if e := p.Endpoints(); len(e) != 1 || e[0].Addr != addr {
		t.Fatalf("endpoints = %v, want the copy that listens", e)
	}
	first := p.Endpoints()[0]
	p.SetAddrs([]string{addr}, nil) // the cluster says so too
	if p.Endpoints()[0] != first {
		t.Error("the endpoint was made anew when the cluster found it ready")
	}
	p.SetAddrs(nil, nil)
	if len(p.Endpoints()) != 0 {
		t.Error("a copy that went away is still an endpoint")
	}
}
