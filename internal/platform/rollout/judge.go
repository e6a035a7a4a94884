package rollout

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// Trial is a new revision beside the one that was live before.
type Trial struct {
	App      *v1alpha1.App
	Revision string
	New, Old string // NAMESPACE/SERVICE
	Judge    v1alpha1.Judge
	Window   time.Duration
}

// Verdict is what a judge says. A version about which nothing is known, because
// nobody asked it yet, is not bad.
type Verdict struct {
	Bad    bool
	Reason string
}

// Judge says whether a revision is bad. It is asked at least every second of a rollout,
// and must answer at once. An error means that it cannot know: the rollout then
// stays where it is.
type Judge interface {
	Judge(ctx context.Context, t Trial) (Verdict, error)
}

// For unset fields of a v1alpha1.Judge.
const (
	defaultSuccess  = 95.0
	defaultRequests = 10
)

// edgeJudge judges by the gateway's counters.
type edgeJudge struct{ history *counter.History }

// Judge looks at the last window, which shows a version that turns bad, and at
// all since the new one is watched, which shows one with little traffic.
func (j *edgeJudge) Judge(_ context.Context, t Trial) (Verdict, error) {
	if t.App != nil && object.WebPort(&t.App.Spec) == nil {
		return Verdict{}, nil // no request passes the gateway
	}
	if err := j.history.Err(); err != nil {
		return Verdict{}, err
	}
	now, all := j.history.Last(t.New, t.Window)
	oldNow, oldAll := j.history.Last(t.Old, t.Window)
	if v, err := compare(t.Judge, now, oldNow, t.Window.String()); v.Bad || err != nil {
		return v, err
	}
	return compare(t.Judge, all, oldAll, all.Took.Round(time.Second).String())
}

// compare judges one span of time.
func compare(j v1alpha1.Judge, now, old counter.Span, span string) (Verdict, error) {
	least := int64(defaultRequests)
	if j.MinRequests > 0 {
		least = int64(j.MinRequests)
	}
	if now.Requests < least {
		return Verdict{}, nil
	}
	limit := defaultSuccess
	if j.SuccessRate != "" {
		v, err := strconv.ParseFloat(strings.TrimSuffix(j.SuccessRate, "%"), 64)
		if err != nil {
			return Verdict{}, fmt.Errorf("success rate %q: %w", j.SuccessRate, err)
		}
		limit = v
	}
	// When what both stand on is broken, going back would help nobody.
	blameless := old.Requests >= least && old.SuccessRate() <= now.SuccessRate()
	if rate := now.SuccessRate() * 100; rate < limit && !blameless {
		return Verdict{Bad: true, Reason: fmt.Sprintf("%d of %d requests failed within %s: %.4g %% succeeded, %.4g %% must",
			now.Failures, now.Requests, span, rate, limit)}, nil
	}
	if j.LatencyP99 != nil && j.LatencyP99.Duration > 0 {
		if p99 := now.Latency.Quantile(0.99, now.Requests); p99 > j.LatencyP99.Duration {
			return Verdict{Bad: true, Reason: fmt.Sprintf("99 %% of %d requests within %s took up to %s, %s are allowed",
				now.Requests, span, p99.Round(time.Millisecond), j.LatencyP99.Duration)}, nil
		}
	}
	return Verdict{}, nil
}
