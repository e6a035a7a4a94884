package upstream

import (
	"sync/atomic"
	"time"
)

// Buckets are the upper bounds of latencies, in milliseconds.
var Buckets = [...]int64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}

// Stats counts what happens to a Service's requests.
type Stats struct {
	InFlight atomic.Int64 // sent and not yet answered in full
	Held     atomic.Int64 // waiting for an endpoint
	requests atomic.Int64
	failures atomic.Int64
	counts   [len(Buckets)]atomic.Int64
	sum      atomic.Int64 // microseconds
}

// Answered counts a request, by what it was answered with and how long that
// took. An answer of 5xx, or none, is a failure.
func (s *Stats) Answered(took time.Duration, failed bool) {
	s.requests.Add(1)
	if failed {
		s.failures.Add(1)
	}
	s.sum.Add(took.Microseconds())
	for i, b := range Buckets {
		if took <= time.Duration(b)*time.Millisecond {
			s.counts[i].Add(1)
			return
		}
	}
}

// Snapshot is Stats at one moment.
type Snapshot struct {
	InFlight int64   `json:"inFlight"`
	Held     int64   `json:"held"`
	Requests int64   `json:"requests"`
	Failures int64   `json:"failures"`
	Latency  Latency `json:"latency"`
}

// Latency is a histogram. Counts are cumulative: how many took at most as long
// as the bucket says.
type Latency struct {
	Buckets []int64 `json:"buckets_ms"`
	Counts  []int64 `json:"counts"`
	SumMS   float64 `json:"sum_ms"`
}

// Snapshot reads the counters.
func (s *Stats) Snapshot() Snapshot {
	out := Snapshot{
		InFlight: s.InFlight.Load(), Held: s.Held.Load(), Requests: s.requests.Load(), Failures: s.failures.Load(),
		Latency: Latency{Buckets: Buckets[:], Counts: make([]int64, len(Buckets)), SumMS: float64(s.sum.Load()) / 1000},
	}
	var total int64
	for i := range s.counts {
		total += s.counts[i].Load()
		out.Latency.Counts[i] = total
	}
	return out
}
