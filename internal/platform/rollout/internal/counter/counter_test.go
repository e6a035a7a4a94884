package counter

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestBetween(t *testing.T) {
	for name, tt := range map[string]struct {
		a, b               Backend
		requests, failures int64
	}{
		"what was counted in between":         {Backend{Requests: 10, Failures: 1}, Backend{Requests: 30, Failures: 4}, 20, 3},
		"a gateway that has started anew":     {Backend{Requests: 1000, Failures: 9}, Backend{Requests: 7, Failures: 2}, 7, 2},
		"a backend that was not there before": {Backend{}, Backend{Requests: 5}, 5, 0},
		"nothing happened":                    {Backend{Requests: 5}, Backend{Requests: 5}, 0, 0},
		"failures fell back: it started anew": {Backend{Requests: 5, Failures: 5}, Backend{Requests: 6}, 6, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := Between(tt.a, tt.b, time.Second)
			if got.Requests != tt.requests || got.Failures != tt.failures {
				t.Errorf("Between = %d requests, %d failures; want %d, %d", got.Requests, got.Failures, tt.requests, tt.failures)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	h := Histogram{Bounds: []float64{10, 100, 1000}, Counts: []int64{50, 100, 100}}
	for name, tt := range map[string]struct {
		h        Histogram
		q        float64
		requests int64
		want     time.Duration
	}{
		"within a bucket":                    {h, 0.75, 100, 55 * time.Millisecond},
		"at a bound":                         {h, 0.5, 100, 10 * time.Millisecond},
		"above the last bound":               {h, 0.99, 200, time.Second},
		"without answers":                    {Histogram{Bounds: h.Bounds, Counts: []int64{0, 0, 0}}, 0.99, 0, 0},
		"without buckets":                    {Histogram{}, 0.99, 5, 0},
		"counts for which there is no bound": {Histogram{Bounds: []float64{1}, Counts: []int64{1, 2}}, 0.5, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.h.Quantile(tt.q, tt.requests); got != tt.want {
				t.Errorf("Quantile(%v) = %s, want %s", tt.q, got, tt.want)
			}
		})
	}
}

func TestHistoryOfAWatchedBackend(t *testing.T) {
	h := NewHistory()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	add := func(requests int64) {
		at = at.Add(time.Second)
		h.Add(Snapshot{Time: at, Backends: map[string]Backend{"a/b": {Requests: requests}}}, nil)
	}
	add(100)
	h.Watch("a/b")
	for i := range int64(400) {
		add(100 + 10*(i+1))
	}
	window, all := h.Last("a/b", 5*time.Second)
	if window.Requests != 50 || all.Requests != 4000 {
		t.Errorf("Last = %d in the window, %d in all; want 50, 4000", window.Requests, all.Requests)
	}
	if n := len(h.watched["a/b"].samples); n > 200 {
		t.Errorf("%d samples are kept, want about %s of them", n, keep)
	}
	if now := h.Now("a/b"); now.Requests != 10 || now.PerSecond() != 10 {
		t.Errorf("Now = %d requests, %v a second; want 10", now.Requests, now.PerSecond())
	}
	h.Forget("a/b")
	if window, _ := h.Last("a/b", time.Second); window.Requests != 0 {
		t.Errorf("Last of a forgotten backend = %+v", window)
	}
	h.Add(Snapshot{}, fmt.Errorf("refused"))
	if h.Known() || h.Err() == nil {
		t.Error("after a failure the counters pass for known")
	}
}

func TestReadAddsUpGatewaysAndTrustsNoPart(t *testing.T) {
	answer := `{"time":"2026-01-02T03:04:05Z","backends":{"a/b":{"inFlight":2,"requests":7,"latency":{"buckets_ms":[1],"counts":[3]}}}}`
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
	defer good.Close()
	bad := httptest.NewServer(http.NotFoundHandler())
	defer bad.Close()
	sum, err := Source{URLs: []string{good.URL, good.URL}, Client: good.Client()}.Read(context.Background())
	if b := sum.Backends["a/b"]; err != nil || b.InFlight != 4 || b.Requests != 14 || b.Latency.Counts[0] != 6 {
		t.Errorf("Read = %+v, %v; want both together", b, err)
	}
	if _, err := (Source{URLs: []string{good.URL, bad.URL}, Client: good.Client()}).Read(context.Background()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("Read with one gateway that does not answer = %v, want its status", err)
	}
}

func TestARateCoversASecondHoweverOftenItIsRead(t *testing.T) {
	h := NewHistory()
	at, requests := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), int64(0)
	for range 40 {
		at, requests = at.Add(250*time.Millisecond), requests+25
		h.Add(Snapshot{Time: at, Backends: map[string]Backend{"a/b": {Requests: requests, InFlight: requests}}}, nil)
	}
	now := h.Now("a/b")
	if now.Took != time.Second || now.Requests != 100 || now.InFlight != requests {
		t.Errorf("Now = %d requests in %s, %d in flight; want 100 in 1s, and %d as they are now", now.Requests, now.Took, now.InFlight, requests)
	}
	if len(h.recent) > 6 {
		t.Errorf("%d snapshots are kept", len(h.recent))
	}
}
