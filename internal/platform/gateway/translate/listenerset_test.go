package translate

import (
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

func TestAListenerSetAddsListenersWhereItsGatewayLetsIt(t *testing.T) {
	const parent = "parentRef: {name: sampan, namespace: sampan-system}"
	for name, tt := range map[string]struct {
		from, listeners           string
		accepted, reason          string
		listener, programmedState string // of the first listener; empty when it has none
		attached                  int32
	}{
		"all are let in":              {"{from: All}", "[{name: a, port: 81, protocol: HTTP}]", "True", "Accepted", "Programmed", "True", 1},
		"nobody is, by default":       {"", "[{name: a, port: 81, protocol: HTTP}]", "False", "NotAllowed", "", "", 0},
		"only its own namespace's":    {"{from: Same}", "[{name: a, port: 81, protocol: HTTP}]", "False", "NotAllowed", "", "", 0},
		"a label lets in":             {"{from: Selector, selector: {matchLabels: {edge: ours}}}", "[{name: a, port: 81, protocol: HTTP}]", "True", "Accepted", "Programmed", "True", 1},
		"another label":               {"{from: Selector, selector: {matchLabels: {edge: theirs}}}", "[{name: a, port: 81, protocol: HTTP}]", "False", "NotAllowed", "", "", 0},
		"what the Gateway has":        {"{from: All}", "[{name: a, port: 80, protocol: HTTP}]", "False", "ListenersNotValid", "HostnameConflict", "False", 0},
		"another protocol on a port":  {"{from: All}", "[{name: a, port: 80, protocol: TCP}, {name: b, port: 81, protocol: HTTP}]", "True", "ListenersNotValid", "ProtocolConflict", "False", 1},
		"another name on a port":      {"{from: All}", "[{name: a, port: 80, protocol: HTTP, hostname: a.test}]", "True", "Accepted", "Programmed", "True", 1},
		"a certificate without grant": {"{from: All}", "[{name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c, namespace: sampan-system}]}}]", "False", "ListenersNotValid", "Invalid", "False", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t)
			namespace := o.Namespace
			labelled := namespace("shop")
			labelled.Labels = map[string]string{"edge": "ours"}
			o.Namespace = func(n string) *corev1.Namespace {
				if n == "shop" {
					return labelled
				}
				return namespace(n)
			}
			if tt.from != "" {
				o.Gateways[0].Spec.AllowedListeners = object[gw.AllowedListeners](t, "namespaces: "+tt.from)
			}
			o.Sets = []*gw.ListenerSet{object[gw.ListenerSet](t, "metadata: {name: s, namespace: shop}\nspec: {"+parent+", listeners: "+tt.listeners+"}")}
			out := Translate(o, Settings{80, 443}, set()).Status
			s := out.Sets[types.NamespacedName{Namespace: "shop", Name: "s"}]
			if c := s.Conditions[0]; string(c.Status) != tt.accepted || c.Reason != tt.reason {
				t.Errorf("Accepted is %s by %s (%s); want %s by %s", c.Status, c.Reason, c.Message, tt.accepted, tt.reason)
			}
			if (len(s.Listeners) > 0) != (tt.listener != "") {
				t.Fatalf("it tells of %d listeners", len(s.Listeners))
			}
			if tt.listener != "" {
				for _, c := range s.Listeners[0].Conditions {
					if c.Type == "Programmed" && (c.Reason != tt.listener || string(c.Status) != tt.programmedState) {
						t.Errorf("Programmed is %s by %s; want %s by %s", c.Status, c.Reason, tt.programmedState, tt.listener)
					}
				}
			}
			if g := out.Gateways[types.NamespacedName{Namespace: "sampan-system", Name: "sampan"}]; *g.AttachedListenerSets != tt.attached {
				t.Errorf("the Gateway has %d sets; want %d", *g.AttachedListenerSets, tt.attached)
			}
		})
	}
}

func TestTheOlderOfTwoListenerSetsKeepsAName(t *testing.T) {
	o := cluster(t)
	o.Gateways[0].Spec.AllowedListeners = object[gw.AllowedListeners](t, "namespaces: {from: All}")
	for i, name := range []string{"young", "old"} {
		s := object[gw.ListenerSet](t, `
metadata: {namespace: shop}
spec:
  parentRef: {name: sampan, namespace: sampan-system}
  listeners: [{name: a, port: 80, protocol: HTTP, hostname: web.test}]`)
		s.Name, s.CreationTimestamp = name, metav1.Unix(int64(1000-i), 0)
		o.Sets = append(o.Sets, s)
		// A route goes to the parent that it names, and to no other's listeners.
		r := object[gw.HTTPRoute](t, `
metadata: {namespace: shop}
spec:
  parentRefs: [{kind: ListenerSet}]
  rules: [{backendRefs: [{name: web, port: 80}]}]`)
		r.Name, r.Spec.ParentRefs[0].Name = name, gw.ObjectName(name)
		o.HTTPRoutes = append(o.HTTPRoutes, r)
	}
	result := Translate(o, Settings{80, 443}, set())
	for name, want := range map[string]string{"old": "Accepted", "young": "ListenersNotValid"} {
		if c := result.Status.Sets[types.NamespacedName{Namespace: "shop", Name: name}].Conditions[0]; c.Reason != want {
			t.Errorf("%s is %s by %s; want %s", name, c.Status, c.Reason, want)
		}
	}
	f, ok := result.Table.Lookup(80, httptest.NewRequest("GET", "http://web.test/", nil))
	if !ok || f.Route.Name != "HTTPRoute shop/old" {
		t.Errorf("web.test is served by %+v; want the older set's route", f.Route)
	}
	if _, ok := result.Table.Lookup(80, httptest.NewRequest("GET", "http://other.test/", nil)); ok {
		t.Error("a set's route is served on a listener of the Gateway")
	}
}
