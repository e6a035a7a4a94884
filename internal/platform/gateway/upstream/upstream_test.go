package upstream

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

// lines counts how often a transport's idle connections were closed.
type lines struct{ closed int }

func (l *lines) RoundTrip(*http.Request) (*http.Response, error) { return nil, nil }
func (l *lines) CloseIdleConnections()                           { l.closed++ }

func newPort(t *testing.T) (*Port, func(addr string) *lines) {
	t.Helper()
	var last *lines
	made := map[string]*lines{}
	set := NewSet(func(Protocol, *TLS) Transport { last = &lines{}; return last })
	p := set.Service("shop/web").Port(80, HTTP1)
	return p, func(addr string) *lines {
		if made[addr] == nil {
			made[addr] = last
		}
		return made[addr]
	}
}

func TestAnEndpointThatStaysKeepsItsConnections(t *testing.T) {
	p, line := newPort(t)
	p.SetAddrs([]string{"192.0.2.1:80"}, nil)
	first, a := p.Endpoints()[0], line("192.0.2.1:80")
	first.Begin()
	p.SetAddrs([]string{"192.0.2.2:80", "192.0.2.1:80"}, nil)
	if p.Endpoints()[1] != first || first.InFlight() != 1 || a.closed != 0 {
		t.Errorf("the endpoint was made anew, or its connections closed %d times", a.closed)
	}
	p.SetAddrs([]string{"192.0.2.2:80"}, nil)
	if a.closed != 1 {
		t.Errorf("idle connections closed %d times when it left; want once", a.closed)
	}
	first.Done()
	if a.closed != 2 {
		t.Errorf("idle connections closed %d times after its last request; want once more", a.closed)
	}
}

func TestAChangeIsAnnouncedOnce(t *testing.T) {
	p, _ := newPort(t)
	changed := p.Changed()
	p.SetAddrs(nil, nil)
	select {
	case <-changed:
		t.Error("no endpoints are announced as a change of none")
	default:
	}
	p.SetAddrs([]string{"192.0.2.1:80"}, nil)
	select {
	case <-changed:
	default:
		t.Error("a new endpoint is not announced")
	}
}

func TestTheLessBusyIsPicked(t *testing.T) {
	p, _ := newPort(t)
	p.SetAddrs([]string{"192.0.2.1:80", "192.0.2.2:80"}, nil)
	busy, idle := p.Endpoints()[0], p.Endpoints()[1]
	for range 5 {
		busy.Begin()
	}
	for range 20 {
		if got := p.Pick(rand.IntN, nil); got != idle {
			t.Fatalf("picked %s with %d requests under way; want %s", got.Addr, got.InFlight(), idle.Addr)
		}
	}
	idle.Failed()
	if got := p.Pick(rand.IntN, nil); got != busy {
		t.Errorf("picked %s, which has just failed", got.Addr)
	}
	if got := p.Pick(rand.IntN, []*Endpoint{busy}); got != idle {
		t.Error("the endpoint that has failed is not taken when there is no other")
	}
	if got := p.Pick(rand.IntN, []*Endpoint{busy, idle}); got != nil {
		t.Errorf("picked %s, which this request has tried", got.Addr)
	}
}

func TestAForgottenServiceHasNoEndpoints(t *testing.T) {
	set := NewSet(func(Protocol, *TLS) Transport { return &lines{} })
	svc := set.Service("shop/web")
	svc.SetApp("web")
	p := svc.Port(80, HTTP1)
	p.SetAddrs([]string{"192.0.2.1:80"}, nil)
	set.Forget("shop/web")
	if len(p.Endpoints()) != 0 || svc.App() != "" || len(set.Services()) != 0 {
		t.Errorf("a deleted Service has endpoints %v and App %q", p.Endpoints(), svc.App())
	}
}

func TestLatenciesAreCumulative(t *testing.T) {
	var s Stats
	for _, d := range []time.Duration{time.Millisecond, 4 * time.Millisecond, 40 * time.Millisecond, time.Minute} {
		s.Answered(d, d == time.Minute)
	}
	got := s.Snapshot()
	want := []int64{1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3}
	for i := range want {
		if got.Latency.Counts[i] != want[i] {
			t.Fatalf("counts = %v; want %v", got.Latency.Counts, want)
		}
	}
	if got.Requests != 4 || got.Failures != 1 {
		t.Errorf("requests %d, failures %d; want 4 and 1", got.Requests, got.Failures)
	}
}
