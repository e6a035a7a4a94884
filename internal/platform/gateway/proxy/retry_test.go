package proxy

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

func TestABadAnswerIsAskedForAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		method, body   string
		code, attempts int
		bad            int64 // answers, before good ones
		want           int
		asked          int64
	}{
		"until it is good":                  {"GET", "", 503, 3, 2, 200, 3},
		"as often as is allowed":            {"GET", "", 503, 3, 9, 503, 4},
		"never more than ten times":         {"GET", "", 503, 1000, 99, 503, 11},
		"not for another status":            {"GET", "", 500, 3, 9, 500, 1},
		"by DELETE":                         {"DELETE", "", 503, 3, 1, 200, 2},
		"not by POST":                       {"POST", "", 503, 3, 1, 503, 1},
		"not with a body that was sent":     {"PUT", "order", 503, 3, 1, 503, 1},
		"though PUT may when it sends none": {"PUT", "", 503, 3, 1, 200, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			addr := app(t, func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) <= tt.bad {
					w.WriteHeader(tt.code)
				}
			})
			b := newBench(t, Config{})
			b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, addr)), Retry: &route.Retry{Codes: []int{502, 503}, Attempts: tt.attempts}})
			if resp, _ := b.do(tt.method, "/", tt.body); resp.StatusCode != tt.want || asked.Load() != tt.asked {
				t.Errorf("%d after %d requests of the app; want %d after %d", resp.StatusCode, asked.Load(), tt.want, tt.asked)
			}
		})
	}
}

func TestARetryGoesToAnotherEndpoint(t *testing.T) {
	bad := app(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	b := newBench(t, Config{})
	b.rule(&route.Rule{Backends: to(b.service("web", upstream.HTTP1, bad, app(t, says("good")))), Retry: &route.Retry{Codes: []int{503}, Attempts: 1}})
	for i := range 20 {
		if resp, body := b.do("GET", "/", ""); body != "good" {
			t.Fatalf("request %d = %d %q; want the other endpoint's answer by one retry", i, resp.StatusCode, body)
		}
	}
}
