package rollout

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
)

func TestMetricsForAutoscalers(t *testing.T) {
	labels := map[string]string{"app": "plain"}
	pod := func(name string, ready corev1.ConditionStatus) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: labels},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}}}
	}
	route := &gw.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Name: "front", Namespace: "shop"}}
	for _, name := range []gw.ObjectName{"plain", "other"} {
		route.Spec.Rules = append(route.Spec.Rules, gw.HTTPRouteRule{BackendRefs: []gw.HTTPBackendRef{{BackendRef: gw.BackendRef{
			BackendObjectReference: gw.BackendObjectReference{Name: name}}}}})
	}
	w := newWorld(t, route, pod("a", corev1.ConditionTrue), pod("b", corev1.ConditionTrue), pod("starting", corev1.ConditionFalse),
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "plain", Namespace: "shop"}, Spec: corev1.ServiceSpec{Selector: labels}})
	m := &Metrics{}
	ask := func(path string) (int, custom.MetricValueList) {
		t.Helper()
		rec := httptest.NewRecorder()
		m.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, MetricsPrefix+"v1beta2/"+path, nil))
		var list custom.MetricValueList
		if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil {
			t.Fatalf("GET %s = %s: %v", path, rec.Body, err)
		}
		return rec.Code, list
	}
	if code, _ := ask("namespaces/shop/services/plain/requests_per_second"); code != http.StatusServiceUnavailable {
		t.Errorf("before apps have started: %d", code)
	}
	m.from.Store(&meter{w.c, w.r.history})
	at := time.Now()
	for i := range int64(3) {
		w.r.history.Add(counter.Snapshot{Time: at.Add(time.Duration(i) * time.Second), Backends: map[string]counter.Backend{
			"shop/plain": {Requests: 100 * i, InFlight: 6, Held: 2}, "shop/other": {Requests: 10 * i},
		}}, nil)
	}
	for path, want := range map[string]string{
		"namespaces/shop/services/plain/requests_per_second":                             "plain=100 ",
		"namespaces/shop/services/plain/requests_in_flight":                              "plain=8 ",
		"namespaces/shop/services/*/requests_in_flight":                                  "plain=8 ",
		"namespaces/shop/httproutes.gateway.networking.k8s.io/front/requests_per_second": "front=110 ",
		"namespaces/shop/pods/*/requests_per_second?labelSelector=app%3Dplain":           "a=50 b=50 starting=0 ",
		"namespaces/shop/pods/a/requests_in_flight":                                      "a=4 ",
		"namespaces/shop/pods/*/requests_per_second?labelSelector=app%3Dnone":            "",
	} {
		code, list := ask(path)
		got := ""
		for _, v := range list.Items {
			got += fmt.Sprintf("%s=%s ", v.DescribedObject.Name, v.Value.String())
		}
		if code != http.StatusOK || got != want {
			t.Errorf("GET %s = %d %s; want %s", path, code, got, want)
		}
	}
	for path, want := range map[string]int{
		"namespaces/shop/services/none/requests_per_second": http.StatusNotFound,
		"namespaces/shop/services/plain/weather":            http.StatusNotFound,
		"namespaces/shop/nodes/n/requests_per_second":       http.StatusNotFound,
		"pods": http.StatusNotFound,
		"namespaces/shop/pods/*/requests_per_second?labelSelector=a%3D%3D%3D": http.StatusBadRequest,
	} {
		if code, _ := ask(path); code != want {
			t.Errorf("GET %s = %d, want %d", path, code, want)
		}
	}
	w.r.history.Add(counter.Snapshot{}, fmt.Errorf("connection refused"))
	if code, _ := ask("namespaces/shop/services/plain/requests_per_second"); code != http.StatusServiceUnavailable {
		t.Errorf("without a gateway: %d, want no number rather than an old one", code)
	}
}
