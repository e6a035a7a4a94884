package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// Counters is what GET /v1/backends answers.
type Counters struct {
	Time     time.Time                    `json:"time"`
	Backends map[string]upstream.Snapshot `json:"backends"` // by NAMESPACE/SERVICE
}

// counters reads those of Services that requests have been routed to.
func counters(set *upstream.Set) Counters {
	c := Counters{Time: time.Now(), Backends: map[string]upstream.Snapshot{}}
	for key, svc := range set.Services() {
		if len(svc.Ports()) > 0 {
			c.Backends[key] = svc.Stats.Snapshot()
		}
	}
	return c
}

// admin answers on the node's own address, for the controller and the kubelet.
func (s *Server) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/backends", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(counters(s.set))
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write([]byte(exposition(counters(s.set), s.proxy.Table().Rules())))
	})
	mux.HandleFunc("GET /v1/certificates", s.certificates)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return mux
}

// exposition writes counters as Prometheus reads them.
func exposition(c Counters, rules int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# HELP sampan_gateway_rules Matches in the routing table.\n# TYPE sampan_gateway_rules gauge\nsampan_gateway_rules %d\n", rules)
	keys := make([]string, 0, len(c.Backends))
	for k := range c.Backends {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, m := range []struct {
		name, kind, help string
		value            func(upstream.Snapshot) int64
	}{
		{"sampan_gateway_requests_in_flight", "gauge", "Requests under way.", func(s upstream.Snapshot) int64 { return s.InFlight }},
		{"sampan_gateway_requests_held", "gauge", "Requests that wait for a copy to start.", func(s upstream.Snapshot) int64 { return s.Held }},
		{"sampan_gateway_requests_total", "counter", "Requests answered.", func(s upstream.Snapshot) int64 { return s.Requests }},
		{"sampan_gateway_failures_total", "counter", "Requests answered with 5xx.", func(s upstream.Snapshot) int64 { return s.Failures }},
	} {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		for _, k := range keys {
			fmt.Fprintf(&b, "%s{%s} %d\n", m.name, labels(k), m.value(c.Backends[k]))
		}
	}
	const latency = "sampan_gateway_latency_seconds"
	fmt.Fprintf(&b, "# HELP %s From sending a request on to the head of its answer.\n# TYPE %s histogram\n", latency, latency)
	for _, k := range keys {
		l := c.Backends[k].Latency
		for i, bound := range l.Buckets {
			fmt.Fprintf(&b, "%s_bucket{%s,le=\"%g\"} %d\n", latency, labels(k), float64(bound)/1000, l.Counts[i])
		}
		total := c.Backends[k].Requests
		fmt.Fprintf(&b, "%s_bucket{%s,le=\"+Inf\"} %d\n%s_sum{%s} %g\n%s_count{%s} %d\n", latency, labels(k), total, latency, labels(k), l.SumMS/1000, latency, labels(k), total)
	}
	return b.String()
}

func labels(key string) string {
	namespace, name, _ := strings.Cut(key, "/")
	return fmt.Sprintf("namespace=%q,service=%q", namespace, name)
}
