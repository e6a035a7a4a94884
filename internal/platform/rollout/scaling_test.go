package rollout

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
)

func TestWindows(t *testing.T) {
	office := v1alpha1.Window{Start: "0 9 * * 1-5", Duration: metav1.Duration{Duration: 9 * time.Hour}, TimeZone: "Asia/Shanghai"}
	shanghai := time.FixedZone("", 8*3600)
	for name, tt := range map[string]struct {
		w    v1alpha1.Window
		now  time.Time
		want bool
	}{
		"in the morning before it":     {office, time.Date(2026, 3, 4, 8, 59, 59, 0, shanghai), false},
		"when it begins":               {office, time.Date(2026, 3, 4, 9, 0, 0, 0, shanghai), true},
		"in the middle":                {office, time.Date(2026, 3, 4, 15, 0, 0, 0, shanghai), true},
		"when it is over":              {office, time.Date(2026, 3, 4, 18, 0, 0, 0, shanghai), false},
		"on a Sunday":                  {office, time.Date(2026, 3, 1, 12, 0, 0, 0, shanghai), false},
		"over midnight, the day after": {v1alpha1.Window{Start: "0 22 * * *", Duration: metav1.Duration{Duration: 4 * time.Hour}}, time.Date(2026, 3, 4, 1, 0, 0, 0, time.UTC), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := within(tt.w, tt.now); err != nil || got != tt.want {
				t.Errorf("within(%s) = %v, %v; want %v", tt.now, got, err, tt.want)
			}
		})
	}
	for _, w := range []v1alpha1.Window{{Start: "at nine"}, {Start: "0 9 * * *", TimeZone: "Mars/Base"}} {
		if _, err := within(w, time.Now()); err == nil {
			t.Errorf("within(%+v) = nil error", w)
		}
	}
}

func TestTargets(t *testing.T) {
	half, quarter := resource.MustParse("500m"), resource.MustParse("256Mi")
	spec := &v1alpha1.AppSpec{Resources: v1alpha1.Resources{CPU: &half, Memory: &quarter}}
	for name, tt := range map[string]struct {
		typ    v1alpha1.MetricType
		target string
		want   float64
		err    string
	}{
		"requests":                    {v1alpha1.InFlight, "20", 20, ""},
		"requests a second":           {v1alpha1.RPS, "12.5", 12.5, ""},
		"a time":                      {v1alpha1.Latency, "250ms", 0.25, ""},
		"processors":                  {v1alpha1.CPU, "200m", 0.2, ""},
		"a share of what it asks for": {v1alpha1.CPU, "70%", 0.35, ""},
		"a share of memory":           {v1alpha1.Memory, "50%", 128 << 20, ""},
		"no number":                   {v1alpha1.InFlight, "many", 0, "not a number above 0"},
		"none":                        {v1alpha1.RPS, "0", 0, "not a number above 0"},
		"a time without a unit":       {v1alpha1.Latency, "250", 0, "not a duration"},
		"bytes that are none":         {v1alpha1.Memory, "lots", 0, "not a quantity"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := target(v1alpha1.Metric{Type: tt.typ, Target: intstr.Parse(tt.target)}, spec)
			if tt.err == "" && (err != nil || got < tt.want*0.999 || got > tt.want*1.001) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("target(%s %s) = %v, %v; want %v, %q", tt.typ, tt.target, got, err, tt.want, tt.err)
			}
		})
	}
	if _, _, err := target(v1alpha1.Metric{Type: v1alpha1.CPU, Target: intstr.Parse("70%")}, &v1alpha1.AppSpec{}); err == nil {
		t.Error("a share of nothing = nil error")
	}
}

func TestNumbersFromAURL(t *testing.T) {
	for name, tt := range map[string]struct {
		body, field string
		want        float64
		err         string
	}{
		"a plain number":          {"42\n", "", 42, ""},
		"a field":                 {`{"queue":{"length":7}}`, "queue.length", 7, ""},
		"an element":              {`[{"n":"3.5"}]`, "0.n", 3.5, ""},
		"Prometheus":              {`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1767323045,"12"]}]}}`, "data.result.0.value.1", 12, ""},
		"Prometheus with nothing": {`{"data":{"result":[]}}`, "data.result.0.value.1", 0, "answer has no data.result.0.value.1"},
		"no number":               {"<html>", "", 0, "not a number"},
		"no JSON":                 {"<html>", "a", 0, "invalid"},
		"a field that is a list":  {`{"a":[]}`, "a", 0, "no number at a"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := number([]byte(tt.body), tt.field)
			if got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("number(%s, %q) = %v, %v; want %v, %q", tt.body, tt.field, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestAQueueBringsCopiesAndALostOneTakesNone(t *testing.T) {
	length := "120"
	queue := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if length == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, length)
	}))
	defer queue.Close()
	worker := web("worker", func(a *v1alpha1.App) {
		least, most := int32(1), int32(50)
		a.Spec.Kind, a.Spec.Ports = v1alpha1.Worker, nil
		a.Spec.Scale = &v1alpha1.Scale{Min: &least, Max: &most, Metrics: []v1alpha1.Metric{{Type: v1alpha1.External, Target: intstr.FromInt32(10), URL: queue.URL}}}
	})
	w := newWorld(t, worker)
	w.ticks(3)
	ask := func() {
		w.r.measured.want(w.app("worker"))
		w.r.measured.refresh(context.Background())
	}
	ask()
	w.tick()
	expect(t, "copies", w.copies(), "worker-r1=12")
	length = ""
	ask()
	w.ticks(60)
	expect(t, "copies when the queue does not answer", w.copies(), "worker-r1=12")
	if got := w.condition("worker", v1alpha1.ConditionDegraded); !strings.Contains(got, "MetricUnreachable") || !strings.Contains(got, "503") {
		t.Errorf("Degraded = %q, want that the metric cannot be reached", got)
	}
}

func TestAnOldMeasurementIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeasured(&rest.Config{}, http.DefaultClient)
		app, metric := web("web"), v1alpha1.Metric{Type: v1alpha1.External}
		m.values[metricKey{key(app), string(metric.Type)}] = value{v: 3, at: time.Now()}
		if v, err := m.get(app, metric); v != 3 || err != nil {
			t.Errorf("get = %v, %v; want 3", v, err)
		}
		time.Sleep(tooOld + time.Second)
		if _, err := m.get(app, metric); err == nil {
			t.Error("get of an old value = nil error")
		}
	})
}

func TestWhoDecidesTheNumberOfCopies(t *testing.T) {
	w := newWorld(t, web("web"))
	w.ticks(3)
	seven := int32(7)
	w.change("web", func(a *v1alpha1.App) { a.Spec.Scale = &v1alpha1.Scale{Replicas: &seven} })
	w.tick()
	expect(t, "copies that the app asks for", w.copies(), "web-r1=7")
	ds := w.deployment("web-r1")
	two := int32(2)
	ds.Spec.Replicas = &two
	if err := w.c.Update(context.Background(), ds); err != nil {
		t.Fatal(err)
	}
	w.tick()
	expect(t, "copies after somebody scaled the Deployment", w.copies(), "web-r1=7")
}

func TestAAndBByHeaderUntilPromoted(t *testing.T) {
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		a.Spec.Rollout = &v1alpha1.Rollout{Strategy: v1alpha1.AB, Sticky: true,
			Match: &v1alpha1.RolloutMatch{Header: &v1alpha1.NameValue{Name: "X-Beta", Value: "yes"}}}
	}))
	w.ticks(3)
	w.change("web", image("web:2"))
	w.ticks(60)
	h := w.route("web")
	if len(h.Spec.Rules) != 2 || h.Spec.Rules[0].Matches[0].Headers[0].Value != "yes" || h.Spec.Rules[0].BackendRefs[0].Name != "web-r2" {
		t.Errorf("rules = %+v, want those with the header to go to web-r2", h.Spec.Rules)
	}
	expect(t, "everybody else", w.weights("web"), "web-r1=100 web-r2=0")
	expect(t, "sticky", h.Annotations["gateway.sampan.dev/sticky"], "cookie:sampan-web")
	w.order("web", "promote#1")
	w.ticks(12)
	expect(t, "everybody when promoted", w.weights("web"), "web-r2=100")
	w.change("web", func(a *v1alpha1.App) { a.Spec.Rollout = nil })
	w.tick()
	if _, ok := w.route("web").Annotations["gateway.sampan.dev/sticky"]; ok {
		t.Error("the route is still sticky")
	}
}

func TestOtherLimitsHoldInAWindow(t *testing.T) {
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		least, most := int32(4), int32(6)
		a.Spec.Scale = &v1alpha1.Scale{Schedule: []v1alpha1.Window{
			{Start: "10 3 * * *", Duration: metav1.Duration{Duration: 20 * time.Minute}, Min: &least, Max: &most},
		}}
	}))
	w.ticks(3) // it is 3:04
	expect(t, "copies before it", w.copies(), "web-r1=1")
	w.now = time.Date(2026, 1, 2, 3, 10, 0, 0, time.UTC)
	w.ticks(2)
	expect(t, "copies in it", w.copies(), "web-r1=4")
	w.counts["shop/web-r1"] = counter.Backend{InFlight: 2000}
	w.ticks(2)
	expect(t, "copies in it under load", w.copies(), "web-r1=6")
	w.counts["shop/web-r1"] = counter.Backend{}
	w.now = time.Date(2026, 1, 2, 3, 31, 0, 0, time.UTC)
	w.ticks(40)
	expect(t, "copies after it", w.copies(), "web-r1=0")
}

// cluster answers for pods' metrics as the API server does.
func cluster(t *testing.T, cpu *string) *rest.Config {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods" || r.URL.Query().Get("labelSelector") != v1alpha1.LabelApp+"=web" {
			t.Errorf("asked for %s", r.URL)
		}
		if *cpu == "" {
			fmt.Fprint(w, `{"items":[]}`)
			return
		}
		fmt.Fprintf(w, `{"items":[{"containers":[{"name":"app","usage":{"cpu":%q,"memory":"64Mi"}}]},{"containers":[{"name":"app","usage":{"cpu":%q,"memory":"64Mi"}}]}]}`, *cpu, *cpu)
	}))
	t.Cleanup(s.Close)
	return &rest.Config{Host: s.URL}
}

func TestProcessorsBringCopies(t *testing.T) {
	cpu, half := "", resource.MustParse("500m")
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		least, most := int32(2), int32(20)
		a.Spec.Resources.CPU = &half
		a.Spec.Scale = &v1alpha1.Scale{Min: &least, Max: &most, Metrics: []v1alpha1.Metric{{Type: v1alpha1.CPU, Target: intstr.FromString("50%")}}}
	}))
	w.r.measured = newMeasured(cluster(t, &cpu), http.DefaultClient)
	seconds := func(n int) {
		for range n {
			w.r.measured.want(w.app("web"))
			w.r.measured.refresh(context.Background())
			w.tick()
		}
	}
	seconds(3)
	expect(t, "copies before anything was measured", w.copies(), "web-r1=2")
	cpu = "1500m" // each of two, when a quarter is what one should use
	seconds(1)
	expect(t, "copies", w.copies(), "web-r1=12")
	cpu = "10m"
	seconds(25)
	expect(t, "copies when little was enough for a moment", w.copies(), "web-r1=12")
	seconds(10)
	expect(t, "copies when little was enough for a while", w.copies(), "web-r1=2")
}

func TestACopyThatIsNotMeasuredYetIsNoFault(t *testing.T) {
	cpu, half := "", resource.MustParse("500m")
	w := newWorld(t, web("web", func(a *v1alpha1.App) {
		a.Spec.Resources.CPU = &half
		a.Spec.Scale = &v1alpha1.Scale{Metrics: []v1alpha1.Metric{{Type: v1alpha1.CPU, Target: intstr.FromString("50%")}}}
	}))
	w.r.measured = newMeasured(cluster(t, &cpu), http.DefaultClient)
	w.look("web")
	p := w.deployment("web-r1").Spec.Template
	w.run("web-r1-0", p)
	var pod corev1.Pod
	w.get("web-r1-0", &pod)
	pod.Status.Conditions[0].LastTransitionTime = metav1.NewTime(w.now)
	if err := w.c.Status().Update(context.Background(), &pod); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		w.r.measured.want(w.app("web"))
		w.r.measured.refresh(context.Background())
		w.tick()
		got, young := w.condition("web", v1alpha1.ConditionDegraded), w.now.Sub(pod.Status.Conditions[0].LastTransitionTime.Time) <= sampled
		if young && got != "" {
			t.Fatalf("Degraded = %q while a copy is young", got)
		}
	}
	if got := w.condition("web", v1alpha1.ConditionDegraded); !strings.Contains(got, "MetricUnreachable") {
		t.Errorf("Degraded = %q in the end, want that nothing is measured", got)
	}
}
