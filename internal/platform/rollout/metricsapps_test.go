package rollout

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
)

func TestAnAppAndTheServiceOfItsNameHaveTheMetricsOfAllItsRevisions(t *testing.T) {
	// "taken" is an app whose Service's name is somebody else's.
	theirs := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "taken", Namespace: "shop"}}
	w := newWorld(t, theirs, web("web", canary("1h")), web("idle"), web("taken"))
	w.ticks(3)
	w.change("web", image("web:2"))
	w.ticks(3)
	expect(t, "weights", w.weights("web"), "web-r1=90 web-r2=10")
	times := func(fast, slow int64) counter.Histogram {
		return counter.Histogram{Bounds: []float64{100, 1000}, Counts: []int64{fast, fast + slow}}
	}
	for i := range int64(3) {
		w.counts["shop/web-r1"] = counter.Backend{Requests: 90 * i, InFlight: 6, Held: 2, Latency: times(90*i, 0)}
		w.counts["shop/web-r2"] = counter.Backend{Requests: 10 * i, InFlight: 1, Latency: times(0, 10*i)}
		w.counts["shop/taken"] = counter.Backend{Requests: 7 * i}
		w.counts["shop/taken-r1"] = counter.Backend{Requests: 5 * i}
		w.tick()
	}
	m := &Metrics{}
	m.from.Store(&meter{w.c, w.r.history})
	for path, want := range map[string][]string{
		"services/web/requests_per_second":             {"Service web=100"},
		"services/web/requests_in_flight":              {"Service web=9"},
		"services/web/request_seconds_p90":             {"Service web=100m"},
		"services/web/request_seconds_p99":             {"Service web=910m"},
		"services/web-r2/requests_per_second":          {"Service web-r2=10"},
		"services/web-r1/request_seconds_p99":          {"Service web-r1=99m"},
		"services/idle/requests_per_second":            {"Service idle=0"},
		"services/taken/requests_per_second":           {"Service taken=7"},
		"apps.apps.sampan.dev/web/requests_in_flight":  {"App web=9"},
		"apps.apps.sampan.dev/web/request_seconds_p99": {"App web=910m"},
		"apps.apps.sampan.dev/*/requests_per_second":   {"App idle=0", "App taken=12", "App web=100"},
		"services/*/requests_per_second": {"Service idle=0", "Service idle-r1=0", "Service taken=7", "Service taken-r1=5",
			"Service web=100", "Service web-r1=90", "Service web-r2=10"},
	} {
		rec := httptest.NewRecorder()
		m.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, MetricsPrefix+"v1beta2/namespaces/shop/"+path, nil))
		var list custom.MetricValueList
		if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil || rec.Code != http.StatusOK {
			t.Errorf("GET %s = %d %s: %v", path, rec.Code, rec.Body, err)
			continue
		}
		var got []string
		for _, v := range list.Items {
			got = append(got, fmt.Sprintf("%s %s=%s", v.DescribedObject.Kind, v.DescribedObject.Name, v.Value.String()))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("GET %s = %q; want %q", path, got, want)
		}
	}
}
