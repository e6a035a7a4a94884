package rollout

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
)

func TestJudgeByTheGatewaysCounters(t *testing.T) {
	took := func(ms ...int64) counter.Histogram {
		return counter.Histogram{Bounds: []float64{10, 100, 1000}, Counts: ms}
	}
	for name, tt := range map[string]struct {
		judge    v1alpha1.Judge
		new, old counter.Backend // what each does in a second
		bad      string
	}{
		"a good version":                            {v1alpha1.Judge{}, counter.Backend{Requests: 20}, counter.Backend{Requests: 200}, ""},
		"one that fails":                            {v1alpha1.Judge{}, counter.Backend{Requests: 20, Failures: 4}, counter.Backend{Requests: 200}, "16 of 80 requests failed within 4s: 80 % succeeded, 95 % must"},
		"one that fails no more than it may":        {v1alpha1.Judge{SuccessRate: "75%"}, counter.Backend{Requests: 20, Failures: 4}, counter.Backend{Requests: 200}, ""},
		"one that fails as the old one does":        {v1alpha1.Judge{}, counter.Backend{Requests: 20, Failures: 4}, counter.Backend{Requests: 200, Failures: 60}, ""},
		"one that fails more than a bad old one":    {v1alpha1.Judge{}, counter.Backend{Requests: 20, Failures: 20}, counter.Backend{Requests: 200, Failures: 60}, "80 of 80 requests failed"},
		"one that few have asked":                   {v1alpha1.Judge{MinRequests: 1000}, counter.Backend{Requests: 20, Failures: 20}, counter.Backend{}, ""},
		"one that few ask, over a longer time":      {v1alpha1.Judge{MinRequests: 5}, counter.Backend{Requests: 1, Failures: 1}, counter.Backend{}, "requests failed within 10s"},
		"a slow one":                                {v1alpha1.Judge{LatencyP99: &metav1.Duration{Duration: 100 * time.Millisecond}}, counter.Backend{Requests: 20, Latency: took(0, 10, 20)}, counter.Backend{}, "99 % of 80 requests within 4s took up to 982ms, 100ms are allowed"},
		"a quick one":                               {v1alpha1.Judge{LatencyP99: &metav1.Duration{Duration: 100 * time.Millisecond}}, counter.Backend{Requests: 20, Latency: took(20, 20, 20)}, counter.Backend{}, ""},
		"a slow one that nobody said must be quick": {v1alpha1.Judge{}, counter.Backend{Requests: 20, Latency: took(0, 0, 20)}, counter.Backend{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := counter.NewHistory()
			at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			var n, o counter.Backend
			for range 11 {
				h.Add(counter.Snapshot{Time: at, Backends: map[string]counter.Backend{"a/new": n, "a/old": o}}, nil)
				h.Watch("a/new")
				h.Watch("a/old")
				n, o, at = n.Add(tt.new), o.Add(tt.old), at.Add(time.Second)
			}
			v, err := (&edgeJudge{history: h}).Judge(context.Background(), Trial{New: "a/new", Old: "a/old", Judge: tt.judge, Window: 4 * time.Second})
			if err != nil || v.Bad != (tt.bad != "") || !strings.Contains(v.Reason, tt.bad) {
				t.Errorf("Judge = %+v, %v; want %q", v, err, tt.bad)
			}
		})
	}
}

func TestAJudgeThatCannotReadTheCountersSaysSo(t *testing.T) {
	h := counter.NewHistory()
	h.Add(counter.Snapshot{}, errors.New("connection refused"))
	if _, err := (&edgeJudge{history: h}).Judge(context.Background(), Trial{}); err == nil {
		t.Error("Judge = nil error, want that the counters cannot be read")
	}
}
