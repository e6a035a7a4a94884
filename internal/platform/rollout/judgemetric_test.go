package rollout

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// prometheus answers every query with what says says.
func prometheus(t *testing.T, says func(query string) string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, says(r.URL.Query().Get("query")))
	}))
	t.Cleanup(s.Close)
	return s
}

func series(value string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"` + value + `"]}]}}`
}

func TestJudgeByMetrics(t *testing.T) {
	for name, tt := range map[string]struct {
		metric  v1alpha1.JudgeMetric
		answer  string
		bad     string
		unknown bool
	}{
		"between its limits":          {v1alpha1.JudgeMetric{Query: "q", Min: "1", Max: "3"}, series("2"), "", false},
		"above its limit":             {v1alpha1.JudgeMetric{Query: "q", Max: "0.5"}, series("0.75"), "q is 0.75, at most 0.5 is good", false},
		"below its limit, with name":  {v1alpha1.JudgeMetric{Name: "orders", Query: "q", Min: "10"}, series("3"), "orders is 3, at least 10 is good", false},
		"without data":                {v1alpha1.JudgeMetric{Query: "q", Min: "10"}, `{"status":"success","data":{"result":[]}}`, "", false},
		"nothing divided by nothing":  {v1alpha1.JudgeMetric{Query: "q", Min: "10"}, series("NaN"), "", false},
		"a plain number":              {v1alpha1.JudgeMetric{Max: "1"}, "2", "is 2, at most 1 is good", false},
		"a field of other JSON":       {v1alpha1.JudgeMetric{Field: "a.b", Max: "1"}, `{"a":{"b":7}}`, "is 7, at most 1 is good", false},
		"a field that is not there":   {v1alpha1.JudgeMetric{Field: "a.c", Max: "1"}, `{"a":{"b":7}}`, "", true},
		"what is no answer":           {v1alpha1.JudgeMetric{Query: "q", Max: "1"}, "<html>", "", true},
		"names of the tried revision": {v1alpha1.JudgeMetric{Query: "x{app=$(NAMESPACE)/$(APP),s=$(SERVICE),r=$(REVISION)}", Max: "1"}, "ask", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := ""
			s := prometheus(t, func(query string) string {
				if asked = query; tt.answer == "ask" {
					return series("0")
				}
				return tt.answer
			})
			tt.metric.URL = s.URL
			m := newMeasured(nil, s.Client())
			j := &metricJudge{m}
			trial := Trial{App: web("web"), Revision: "r2", Judge: v1alpha1.Judge{Metrics: []v1alpha1.JudgeMetric{tt.metric}}}
			if v, err := j.Judge(context.Background(), trial); v.Bad || err != nil {
				t.Errorf("Judge before it could ask = %+v, %v", v, err)
			}
			m.refresh(context.Background())
			v, err := j.Judge(context.Background(), trial)
			if v.Bad != (tt.bad != "") || !strings.Contains(v.Reason, tt.bad) || (err != nil) != tt.unknown {
				t.Errorf("Judge = %+v, %v; want %q, an error: %v", v, err, tt.bad, tt.unknown)
			}
			if tt.answer == "ask" && asked != "x{app=shop/web,s=web-r2,r=r2}" {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

func TestARolloutIsJudgedByMetrics(t *testing.T) {
	var value atomic.Value
	value.Store("0")
	s := prometheus(t, func(string) string { return series(value.Load().(string)) })
	w := newWorld(t, web("web", canary("1h"), func(a *v1alpha1.App) {
		a.Spec.Rollout.Judge = &v1alpha1.Judge{Metrics: []v1alpha1.JudgeMetric{{Name: "errors", URL: s.URL, Query: "e", Max: "5"}}}
	}))
	seconds := func(n int) {
		for range n {
			w.r.measured.refresh(context.Background())
			w.tick()
		}
	}
	seconds(3)
	w.change("web", image("web:2"))
	seconds(5)
	expect(t, "weights while it is good", w.weights("web"), "web-r1=90 web-r2=10")

	s.Config.Handler = http.NotFoundHandler()
	seconds(3)
	if got := w.condition("web", v1alpha1.ConditionProgressing); !strings.Contains(got, "JudgeUnreachable") || !strings.Contains(got, "errors: ") {
		t.Errorf("Progressing = %q, want which metric cannot be asked for", got)
	}
	expect(t, "weights while the judge is away", w.weights("web"), "web-r1=90 web-r2=10")

	s.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, series("9")) })
	began := w.now
	for w.weights("web") == "web-r1=90 web-r2=10" && w.now.Sub(began) < time.Minute {
		seconds(1)
	}
	if took := w.now.Sub(began); took > 10*time.Second {
		t.Errorf("taken back after %s, want at most 10s", took)
	}
	if got := w.condition("web", v1alpha1.ConditionDegraded); !strings.Contains(got, "errors is 9, at most 5 is good") {
		t.Errorf("Degraded = %q, want the reason", got)
	}
}
