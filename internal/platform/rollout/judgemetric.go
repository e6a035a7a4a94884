package rollout

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// metricJudge judges by numbers that URLs answer with: PromQL or plain HTTP. It
// looks at the last answers, which are fetched beside the decisions.
type metricJudge struct{ measured *measured }

// Judge compares each number with its limits. That one cannot be asked for is an
// error; that there is no number, because nobody has asked the new version yet,
// is not.
func (j *metricJudge) Judge(_ context.Context, t Trial) (Verdict, error) {
	var errs []error
	for _, m := range t.Judge.Metrics {
		q := v1alpha1.Metric{Type: v1alpha1.External, URL: t.fill(m.URL), Query: t.fill(m.Query), Field: m.Field}
		k := metricKey{key(t.App), q.URL + "\n" + q.Query + "\n" + q.Field}
		j.measured.ask(k, question{q, t.App})
		v, err := j.measured.last(k)
		switch {
		case errors.Is(err, errNotYet):
			continue
		case m.Query != "" && fault.Of(err) == fault.NotFound:
			continue // the query found no series
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", called(m), err))
			continue
		}
		bad, err := outside(v, m)
		if err != nil {
			errs = append(errs, err)
		} else if bad != "" {
			return Verdict{Bad: true, Reason: fmt.Sprintf("%s is %s, %s", called(m), short(v), bad)}, nil
		}
	}
	return Verdict{}, errors.Join(errs...)
}

// fill puts the names of the version that is tried into a URL or query.
func (t Trial) fill(text string) string {
	return strings.NewReplacer("$(NAMESPACE)", t.App.Namespace, "$(APP)", t.App.Name,
		"$(REVISION)", t.Revision, "$(SERVICE)", object.Name(t.App, t.Revision)).Replace(text)
}

// called is a metric's name in messages.
func called(m v1alpha1.JudgeMetric) string {
	switch {
	case m.Name != "":
		return m.Name
	case m.Query != "":
		return m.Query
	}
	return m.URL
}

// outside says which limit a number does not keep.
func outside(v float64, m v1alpha1.JudgeMetric) (string, error) {
	for _, limit := range []struct {
		text  string
		says  string
		keeps func(float64) bool
	}{
		{m.Min, "at least", func(l float64) bool { return v >= l }},
		{m.Max, "at most", func(l float64) bool { return v <= l }},
	} {
		if limit.text == "" {
			continue
		}
		l, err := strconv.ParseFloat(limit.text, 64)
		if err != nil {
			return "", fmt.Errorf("%s: limit %q: %w", called(m), limit.text, err)
		}
		if !limit.keeps(l) {
			return fmt.Sprintf("%s %s is good", limit.says, limit.text), nil
		}
	}
	return "", nil
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
