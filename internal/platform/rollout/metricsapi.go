package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
)

// MetricsPrefix is where an API server serves what Metrics answers.
const MetricsPrefix = "/apis/" + custom.GroupName + "/"

// Metrics answers HorizontalPodAutoscalers with what the gateways count, at the
// resolution of the Controller's own decisions: the group custom.metrics.k8s.io
// for Services, HTTPRoutes, Apps and pods. An API server serves it as a group of its
// own, so that it has asked who may.
type Metrics struct{ from atomic.Pointer[meter] }

// meter is what a running Controller knows.
type meter struct {
	client.Reader
	history *counter.History
}

// measure is one metric.
type measure struct {
	name  string
	value func(counter.Span) float64
	// shared says that the pods of a Service have it together, so that each has
	// its part. Of a time each has the whole.
	shared bool
}

var measures = []measure{
	{"requests_per_second", func(s counter.Span) float64 { return s.PerSecond() }, true},
	{"requests_in_flight", func(s counter.Span) float64 { return float64(s.InFlight + s.Held) }, true},
	{"request_seconds_p90", func(s counter.Span) float64 { return s.Latency.Quantile(0.9, s.Requests).Seconds() }, false},
	{"request_seconds_p99", func(s counter.Span) float64 { return s.Latency.Quantile(0.99, s.Requests).Seconds() }, false},
}

// Kinds that are measured, as they are called in paths.
const (
	kindServices = "services"
	kindRoutes   = "httproutes." + gw.GroupName
	kindApps     = "apps." + v1alpha1.Group
	kindPods     = "pods"
)

func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := m.answer(r)
	code := http.StatusOK
	if err != nil {
		var status apierrors.APIStatus
		if !errors.As(err, &status) {
			status = apierrors.NewInternalError(err)
		}
		s := status.Status()
		s.Kind, s.APIVersion = "Status", "v1"
		answer, code = s, int(s.Code)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

// answer tells what there is, or the values of one metric:
// GROUP/VERSION/namespaces/NAMESPACE/KIND/NAME/METRIC, where the name may be *.
func (m *Metrics) answer(r *http.Request) (any, error) {
	group := schema.GroupResource{Group: custom.GroupName, Resource: "metrics"}
	if r.Method != http.MethodGet {
		return nil, apierrors.NewMethodNotSupported(group, strings.ToLower(r.Method))
	}
	parts := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.Path, strings.TrimSuffix(MetricsPrefix, "/")), "/"), "/")
	version := custom.SchemeGroupVersion.Version
	switch {
	case parts[0] == "":
		gv := metav1.GroupVersionForDiscovery{GroupVersion: custom.SchemeGroupVersion.String(), Version: version}
		return metav1.APIGroup{TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}, Name: custom.GroupName,
			Versions: []metav1.GroupVersionForDiscovery{gv}, PreferredVersion: gv}, nil
	case parts[0] == version && len(parts) == 1:
		return MetricsResources(), nil
	case parts[0] != version || len(parts) != 6 || parts[1] != "namespaces":
		return nil, apierrors.NewNotFound(group, strings.Join(parts, "/"))
	}
	from := m.from.Load()
	if from == nil {
		return nil, apierrors.NewServiceUnavailable("apps have not started yet")
	}
	if err := from.history.Err(); err != nil {
		return nil, apierrors.NewServiceUnavailable(err.Error())
	}
	i := slices.IndexFunc(measures, func(one measure) bool { return one.name == parts[5] })
	if i < 0 {
		return nil, apierrors.NewNotFound(group, parts[5])
	}
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	items, err := from.values(r.Context(), parts[2], parts[3], parts[4], selector, measures[i])
	if err != nil {
		return nil, err
	}
	return custom.MetricValueList{
		TypeMeta: metav1.TypeMeta{Kind: "MetricValueList", APIVersion: custom.SchemeGroupVersion.String()}, Items: items,
	}, nil
}

// MetricsResources are the metrics of each kind, for who lists an API server's
// groups.
func MetricsResources() metav1.APIResourceList {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: custom.SchemeGroupVersion.String()}
	for _, kind := range []string{kindServices, kindRoutes, kindApps, kindPods} {
		for _, m := range measures {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: kind + "/" + m.name, Namespaced: true, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"},
			})
		}
	}
	return list
}

// values are those of one object, or of all that a selector chooses.
func (m *meter) values(ctx context.Context, namespace, kind, name string, selector labels.Selector, what measure) ([]custom.MetricValue, error) {
	at := []client.ListOption{client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector}}
	one := types.NamespacedName{Namespace: namespace, Name: name}
	switch kind {
	case kindServices:
		list := corev1.ServiceList{Items: make([]corev1.Service, 1)}
		if err := m.read(ctx, one, &list.Items[0], &list, at); err != nil {
			return nil, err
		}
		stands, err := m.standsFor(ctx, namespace, list.Items)
		if err != nil {
			return nil, err
		}
		return each(list.Items, what, func(s *corev1.Service) (corev1.ObjectReference, float64) {
			return corev1.ObjectReference{Kind: "Service", APIVersion: "v1", Namespace: namespace, Name: s.Name}, what.value(m.history.Sum(stands(s)...))
		}), nil
	case kindRoutes:
		list := gw.HTTPRouteList{Items: make([]gw.HTTPRoute, 1)}
		if err := m.read(ctx, one, &list.Items[0], &list, at); err != nil {
			return nil, err
		}
		return each(list.Items, what, func(h *gw.HTTPRoute) (corev1.ObjectReference, float64) {
			return corev1.ObjectReference{Kind: "HTTPRoute", APIVersion: gw.GroupVersion.String(), Namespace: namespace, Name: h.Name}, what.value(m.history.Sum(backendsOf(h)...))
		}), nil
	case kindApps:
		list := v1alpha1.AppList{Items: make([]v1alpha1.App, 1)}
		if err := m.read(ctx, one, &list.Items[0], &list, at); err != nil {
			return nil, err
		}
		return each(list.Items, what, func(a *v1alpha1.App) (corev1.ObjectReference, float64) {
			return corev1.ObjectReference{Kind: "App", APIVersion: v1alpha1.GroupVersion.String(), Namespace: namespace, Name: a.Name}, what.value(m.history.Sum(backends(a)...))
		}), nil
	case kindPods:
		list := corev1.PodList{Items: make([]corev1.Pod, 1)}
		if err := m.read(ctx, one, &list.Items[0], &list, at); err != nil {
			return nil, err
		}
		shares, err := m.shares(ctx, namespace, what)
		if err != nil {
			return nil, err
		}
		return each(list.Items, what, func(p *corev1.Pod) (corev1.ObjectReference, float64) {
			return corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: namespace, Name: p.Name}, shares(p)
		}), nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Group: custom.GroupName, Resource: kind}, name)
}

// read reads one object, or a list when the name is *.
func (m *meter) read(ctx context.Context, one types.NamespacedName, o client.Object, list client.ObjectList, at []client.ListOption) error {
	if one.Name == custom.AllObjects {
		return m.List(ctx, list, at...)
	}
	return m.Get(ctx, one, o)
}

func each[T any](items []T, what measure, of func(*T) (corev1.ObjectReference, float64)) []custom.MetricValue {
	now, window := metav1.NewTime(time.Now()), int64(1)
	out := []custom.MetricValue{}
	for i := range items {
		about, v := of(&items[i])
		out = append(out, custom.MetricValue{
			DescribedObject: about, Metric: custom.MetricIdentifier{Name: what.name}, Timestamp: now, WindowSeconds: &window,
			Value: *resource.NewMilliQuantity(int64(v*1000), resource.DecimalSI),
		})
	}
	return out
}

// backendsOf are the gateway's names of the Services that a route leads to.
func backendsOf(h *gw.HTTPRoute) []string {
	var out []string
	for _, rule := range h.Spec.Rules {
		for _, b := range rule.BackendRefs {
			namespace := h.Namespace
			if b.Namespace != nil {
				namespace = string(*b.Namespace)
			}
			if name := namespace + "/" + string(b.Name); !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// shares divides what the gateways count for a Service among its ready pods:
// they count no pods, but give each as much.
func (m *meter) shares(ctx context.Context, namespace string, what measure) (func(*corev1.Pod) float64, error) {
	var all corev1.PodList
	var svcs corev1.ServiceList
	if err := errors.Join(m.List(ctx, &all, client.InNamespace(namespace)), m.List(ctx, &svcs, client.InNamespace(namespace))); err != nil {
		return nil, fmt.Errorf("pods and services of %s: %w", namespace, err)
	}
	type part struct {
		selector labels.Selector
		value    float64
	}
	var parts []part
	for _, s := range svcs.Items {
		if len(s.Spec.Selector) == 0 {
			continue
		}
		p := part{labels.SelectorFromSet(s.Spec.Selector), what.value(m.history.Now(namespace + "/" + s.Name))}
		ready := 0
		for i := range all.Items {
			if pod := &all.Items[i]; p.selector.Matches(labels.Set(pod.Labels)) && pod.DeletionTimestamp == nil && podReady(pod) {
				ready++
			}
		}
		if what.shared && ready > 0 {
			p.value /= float64(ready)
		}
		parts = append(parts, p)
	}
	return func(pod *corev1.Pod) float64 {
		v := 0.0
		for _, p := range parts {
			switch {
			case !p.selector.Matches(labels.Set(pod.Labels)) || pod.DeletionTimestamp != nil || !podReady(pod):
			case what.shared:
				v += p.value
			default:
				v = max(v, p.value)
			}
		}
		return v
	}, nil
}
