// Package counter reads what the gateway has counted and says how much of it
// was of late.
//
// The gateway counts from its start and never back. A count that is smaller
// than the one before therefore belongs to a gateway that has started anew.
package counter

import (
	"encoding/json"
	"math"
	"time"
)

// Backend is what a gateway has counted for one Service.
type Backend struct {
	InFlight int64     `json:"inFlight"` // being answered now
	Held     int64     `json:"held"`     // waiting for a copy now
	Requests int64     `json:"requests"` // since the gateway started
	Failures int64     `json:"failures"` // 5xx and no answer, since the gateway started
	Latency  Histogram `json:"latency"`
}

// Histogram counts answers by their time, cumulatively: Counts[i] took at most
// Bounds[i] milliseconds.
type Histogram struct {
	Bounds []float64 `json:"buckets_ms"`
	Counts []int64   `json:"counts"`
}

// Snapshot is all counts at one time. Keys are NAMESPACE/SERVICE.
type Snapshot struct {
	Time     time.Time          `json:"time"`
	Backends map[string]Backend `json:"backends"`
}

// Parse reads what a gateway answers.
func Parse(data []byte) (Snapshot, error) {
	var s Snapshot
	err := json.Unmarshal(data, &s)
	return s, err
}

// Span is what happened between two snapshots.
type Span struct {
	Took     time.Duration
	InFlight int64 // at the end
	Held     int64 // at the end
	Requests int64
	Failures int64
	Latency  Histogram
}

// Between is what happened from a to b.
func Between(a, b Backend, took time.Duration) Span {
	s := Span{Took: took, InFlight: b.InFlight, Held: b.Held, Requests: b.Requests, Failures: b.Failures, Latency: b.Latency}
	if b.Requests < a.Requests || b.Failures < a.Failures {
		return s // started anew: all that it has counted is of late
	}
	s.Requests -= a.Requests
	s.Failures -= a.Failures
	if len(a.Latency.Counts) == len(b.Latency.Counts) {
		s.Latency.Counts = make([]int64, len(b.Latency.Counts))
		for i, c := range b.Latency.Counts {
			s.Latency.Counts[i] = max(0, c-a.Latency.Counts[i])
		}
	}
	return s
}

// Add joins what two gateways have counted for one Service.
func (b Backend) Add(o Backend) Backend {
	b.InFlight += o.InFlight
	b.Held += o.Held
	b.Requests += o.Requests
	b.Failures += o.Failures
	if len(b.Latency.Counts) == 0 {
		b.Latency = o.Latency
		return b
	}
	counts := make([]int64, len(b.Latency.Counts))
	for i := range counts {
		counts[i] = b.Latency.Counts[i]
		if i < len(o.Latency.Counts) {
			counts[i] += o.Latency.Counts[i]
		}
	}
	b.Latency.Counts = counts
	return b
}

// SuccessRate is the share of requests that did not fail; 1 without requests.
func (s Span) SuccessRate() float64 {
	if s.Requests <= 0 {
		return 1
	}
	return 1 - math.Min(1, float64(s.Failures)/float64(s.Requests))
}

// PerSecond is the requests a second.
func (s Span) PerSecond() float64 {
	if s.Took <= 0 {
		return 0
	}
	return float64(s.Requests) / s.Took.Seconds()
}

// Quantile is the time within which the share q of the answers came, with the
// answers of a bucket spread evenly over it. Those above the last bound count
// as taking exactly that, since nothing more is known.
func (h Histogram) Quantile(q float64, requests int64) time.Duration {
	if len(h.Counts) == 0 || len(h.Counts) > len(h.Bounds) {
		return 0
	}
	total := max(requests, h.Counts[len(h.Counts)-1])
	if total == 0 {
		return 0
	}
	rank := q * float64(total)
	lower, below := 0.0, int64(0)
	for i, c := range h.Counts {
		if float64(c) >= rank && c > below {
			part := (rank - float64(below)) / float64(c-below)
			return ms(lower + (h.Bounds[i]-lower)*part)
		}
		lower, below = h.Bounds[i], c
	}
	return ms(h.Bounds[len(h.Bounds)-1])
}

func ms(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
