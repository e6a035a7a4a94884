package translate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	api "github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

func set() *upstream.Set {
	return upstream.NewSet(func(upstream.Protocol, *upstream.TLS) upstream.Transport { return nil })
}

// cluster has a Gateway with a listener for all, and Services shop/web and
// other/web with port 80.
func cluster(t testing.TB) Objects {
	services := map[string]*corev1.Service{}
	for _, ns := range []string{"shop", "other"} {
		services[ns+"/web"] = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
	}
	return Objects{
		Classes: []*gw.GatewayClass{{ObjectMeta: metav1.ObjectMeta{Name: "sampan"}, Spec: gw.GatewayClassSpec{ControllerName: api.Controller}}},
		Gateways: []*gw.Gateway{object[gw.Gateway](t, `
metadata: {name: sampan, namespace: sampan-system}
spec:
  gatewayClassName: sampan
  listeners:
  - {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
  - {name: own, port: 8080, protocol: HTTP, hostname: "*.own.test"}
`)},
		Namespace:   func(n string) *corev1.Namespace { return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n}} },
		Service:     func(ns, n string) *corev1.Service { return services[ns+"/"+n] },
		Secret:      func(string, string) *corev1.Secret { return nil },
		ConfigMap:   func(string, string) *corev1.ConfigMap { return nil },
		Certificate: func(*corev1.Secret) (*tls.Certificate, error) { return nil, errors.New("not a pair") },
		Addresses:   []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	}
}

func object[T any](t testing.TB, text string) *T {
	t.Helper()
	var v T
	if err := yaml.UnmarshalStrict([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return &v
}

// said is the reasons of a route's conditions for its first parent.
func said(s gw.RouteStatus) map[string]string {
	out := map[string]string{}
	if len(s.Parents) > 0 {
		for _, c := range s.Parents[0].Conditions {
			out[c.Type] = c.Reason
		}
	}
	return out
}

func TestARouteIsToldWhatBecameOfIt(t *testing.T) {
	for name, tt := range map[string]struct{ spec, accepted, resolved string }{
		"all is well":                   {`{rules: [{backendRefs: [{name: web, port: 80}]}]}`, "Accepted", "ResolvedRefs"},
		"a Service that is not there":   {`{rules: [{backendRefs: [{name: gone, port: 80}]}]}`, "Accepted", "BackendNotFound"},
		"a port that is not there":      {`{rules: [{backendRefs: [{name: web, port: 81}]}]}`, "Accepted", "BackendNotFound"},
		"another namespace's Service":   {`{rules: [{backendRefs: [{name: web, namespace: other, port: 80}]}]}`, "Accepted", "RefNotPermitted"},
		"a backend of another kind":     {`{rules: [{backendRefs: [{name: web, kind: Bucket, group: x.y, port: 80}]}]}`, "Accepted", "InvalidKind"},
		"a filter that is not known":    {`{rules: [{filters: [{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}]}]}`, "UnsupportedValue", "ResolvedRefs"},
		"an expression that is none":    {`{rules: [{matches: [{path: {type: RegularExpression, value: "("}}]}]}`, "UnsupportedValue", "ResolvedRefs"},
		"a listener that is not there":  {`{parentRefs: [{name: sampan, namespace: sampan-system, sectionName: gone}]}`, "NoMatchingParent", "ResolvedRefs"},
		"a listener of other namespace": {`{parentRefs: [{name: sampan, namespace: sampan-system, sectionName: own}]}`, "NotAllowedByListeners", "ResolvedRefs"},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t)
			r := object[gw.HTTPRoute](t, "metadata: {name: web, namespace: shop}\nspec: "+tt.spec)
			if r.Spec.ParentRefs == nil {
				ns := gw.Namespace("sampan-system")
				r.Spec.ParentRefs = []gw.ParentReference{{Name: "sampan", Namespace: &ns}}
			}
			o.HTTPRoutes = []*gw.HTTPRoute{r}
			got := said(Translate(o, Settings{80, 443}, set()).Status.HTTPRoutes[types.NamespacedName{Namespace: "shop", Name: "web"}])
			if got["Accepted"] != tt.accepted || got["ResolvedRefs"] != tt.resolved {
				t.Errorf("conditions = %v; want Accepted by %s, ResolvedRefs by %s", got, tt.accepted, tt.resolved)
			}
		})
	}
}

func TestAGrantAllowsAnotherNamespacesService(t *testing.T) {
	o := cluster(t)
	o.HTTPRoutes = []*gw.HTTPRoute{object[gw.HTTPRoute](t, `
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: sampan, namespace: sampan-system}]
  rules: [{backendRefs: [{name: web, namespace: other, port: 80}]}]`)}
	for name, tt := range map[string]struct{ grant, want string }{
		"of all Services":        {`{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: "", kind: Service}]}`, "ResolvedRefs"},
		"of this Service":        {`{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: "", kind: Service, name: web}]}`, "ResolvedRefs"},
		"of another Service":     {`{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: "", kind: Service, name: db}]}`, "RefNotPermitted"},
		"to another namespace":   {`{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: mall}], to: [{group: "", kind: Service}]}`, "RefNotPermitted"},
		"to another kind":        {`{from: [{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: shop}], to: [{group: "", kind: Service}]}`, "RefNotPermitted"},
		"of another kind's name": {`{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: "", kind: Secret, name: web}]}`, "RefNotPermitted"},
	} {
		t.Run(name, func(t *testing.T) {
			o.Grants = []*gw.ReferenceGrant{object[gw.ReferenceGrant](t, "metadata: {name: g, namespace: other}\nspec: "+tt.grant)}
			got := said(Translate(o, Settings{80, 443}, set()).Status.HTTPRoutes[types.NamespacedName{Namespace: "shop", Name: "web"}])
			if got["ResolvedRefs"] != tt.want {
				t.Errorf("ResolvedRefs by %s; want %s", got["ResolvedRefs"], tt.want)
			}
		})
	}
}

func TestTheNewerOfTwoClaimsSaysSo(t *testing.T) {
	o := cluster(t)
	for i, name := range []string{"old", "young"} {
		r := object[gw.HTTPRoute](t, `
metadata: {namespace: shop}
spec:
  parentRefs: [{name: sampan, namespace: sampan-system}]
  hostnames: [web.test]
  rules: [{backendRefs: [{name: web, port: 80}]}]`)
		r.Name, r.CreationTimestamp = name, metav1.Unix(int64(1000+i), 0)
		o.HTTPRoutes = append([]*gw.HTTPRoute{r}, o.HTTPRoutes...)
	}
	result := Translate(o, Settings{80, 443}, set())
	if got := said(result.Status.HTTPRoutes[types.NamespacedName{Namespace: "shop", Name: "old"}]); got[ConditionConflicted] != "" {
		t.Errorf("the older route's conditions = %v; want no conflict", got)
	}
	young := result.Status.HTTPRoutes[types.NamespacedName{Namespace: "shop", Name: "young"}]
	if got := said(young); got[ConditionConflicted] != "HostClaimed" || got["Accepted"] != "Accepted" {
		t.Errorf("the newer route's conditions = %v; want HostClaimed", got)
	}
	want := "web.test/* belongs to HTTPRoute shop/old, which is older"
	if cs := young.Parents[0].Conditions; cs[len(cs)-1].Message != want {
		t.Errorf("message = %q; want %q", cs[len(cs)-1].Message, want)
	}
}

func TestAListenerIsToldWhatBecameOfIt(t *testing.T) {
	for name, tt := range map[string]struct{ listeners, kind, reason string }{
		"all is well":                  {`[{name: a, port: 80, protocol: HTTP}]`, "Programmed", "Programmed"},
		"a protocol we do not speak":   {`[{name: a, port: 80, protocol: example.com/sctp}]`, "Accepted", "UnsupportedProtocol"},
		"no certificate":               {`[{name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: gone}]}}]`, "ResolvedRefs", "InvalidCertificateRef"},
		"another namespace's":          {`[{name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c, namespace: other}]}}]`, "ResolvedRefs", "RefNotPermitted"},
		"made certificates":            {`[{name: a, port: 443, protocol: HTTPS, tls: {options: {gateway.sampan.dev/certificates: automatic}}}]`, "ResolvedRefs", "ResolvedRefs"},
		"a kind that is not known":     {`[{name: a, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: TCPRoute}]}}]`, "ResolvedRefs", "InvalidRouteKinds"},
		"TLS that ends nowhere":        {`[{name: a, port: 443, protocol: TLS, tls: {mode: Terminate, certificateRefs: [{name: gone}]}}]`, "ResolvedRefs", "InvalidCertificateRef"},
		"TLS that goes through":        {`[{name: a, port: 443, protocol: TLS, tls: {mode: Passthrough}}]`, "Programmed", "Programmed"},
		"HTTPS that goes through":      {`[{name: a, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}]`, "Accepted", "UnsupportedValue"},
		"TLS and HTTPS of two names":   {`[{name: a, port: 443, protocol: TLS, hostname: a.test, tls: {mode: Passthrough}}, {name: b, port: 443, protocol: HTTPS, tls: {options: {gateway.sampan.dev/certificates: automatic}}}]`, "Programmed", "Programmed"},
		"TCP and HTTP on a port":       {`[{name: a, port: 80, protocol: TCP}, {name: b, port: 80, protocol: HTTP}]`, "Conflicted", "ProtocolConflict"},
		"TCP and UDP on a port":        {`[{name: a, port: 53, protocol: TCP}, {name: b, port: 53, protocol: UDP}]`, "Conflicted", "NoConflicts"},
		"TCP where another has HTTP":   {`[{name: a, port: 8080, protocol: TCP}]`, "Accepted", "PortUnavailable"},
		"two of one name":              {`[{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}]`, "Conflicted", "HostnameConflict"},
		"two protocols on a port":      {`[{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTPS, tls: {options: {gateway.sampan.dev/certificates: automatic}}}]`, "Conflicted", "ProtocolConflict"},
		"another Gateway has the port": {`[{name: a, port: 8080, protocol: HTTPS, tls: {options: {gateway.sampan.dev/certificates: automatic}}}]`, "Accepted", "PortUnavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t)
			g := object[gw.Gateway](t, "metadata: {name: mine, namespace: shop}\nspec: {gatewayClassName: sampan, listeners: "+tt.listeners+"}")
			g.CreationTimestamp = metav1.NewTime(time.Now())
			o.Gateways = append(o.Gateways, g)
			s := Translate(o, Settings{80, 443}, set()).Status.Gateways[types.NamespacedName{Namespace: "shop", Name: "mine"}]
			for _, c := range s.Listeners[0].Conditions {
				if c.Type == tt.kind && c.Reason != tt.reason {
					t.Errorf("%s by %s (%s); want %s", c.Type, c.Reason, c.Message, tt.reason)
				}
			}
		})
	}
}

func TestIngresses(t *testing.T) {
	o := cluster(t)
	o.IngressClasses = []*networkingv1.IngressClass{
		{ObjectMeta: metav1.ObjectMeta{Name: "sampan"}, Spec: networkingv1.IngressClassSpec{Controller: api.IngressController}},
		{ObjectMeta: metav1.ObjectMeta{Name: "nginx"}, Spec: networkingv1.IngressClassSpec{Controller: "k8s.io/ingress-nginx"}},
	}
	for _, text := range []string{`
metadata: {name: web, namespace: shop}
spec:
  ingressClassName: sampan
  defaultBackend: {service: {name: gone, port: {number: 80}}}
  rules:
  - host: Web.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
  - host: "*.star.test"
    http: {paths: [{path: /x, pathType: Exact, backend: {service: {name: web, port: {number: 80}}}}]}`, `
metadata: {name: theirs, namespace: shop}
spec:
  ingressClassName: nginx
  rules: [{host: theirs.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]`,
	} {
		o.Ingresses = append(o.Ingresses, object[networkingv1.Ingress](t, text))
	}
	result := Translate(o, Settings{80, 443}, set())
	for target, want := range map[string]string{
		"http://web.test/any":      "shop/web",
		"http://a.star.test/x":     "shop/web",
		"http://a.star.test/other": "there is no Service shop/gone",
		"http://theirs.test/":      "there is no Service shop/gone",
	} {
		for _, port := range []int{80, 443} {
			f, ok := result.Table.Lookup(port, httptest.NewRequest("GET", target, nil))
			got := "none"
			if ok && f.Backends[0].Port != nil {
				got = f.Backends[0].Port.Service.Key
			} else if ok {
				got = f.Backends[0].Missing
			}
			if got != want {
				t.Errorf("Lookup(%d, %s) = %s; want %s", port, target, got, want)
			}
		}
	}
	if s := result.Status.Ingresses[types.NamespacedName{Namespace: "shop", Name: "web"}]; len(s.Ingress) != 1 || s.Ingress[0].IP != "192.0.2.1" {
		t.Errorf("status = %+v; want the node's address", s)
	}
	if _, ok := result.Status.Ingresses[types.NamespacedName{Namespace: "shop", Name: "theirs"}]; ok {
		t.Error("another controller's Ingress has a status from us")
	}
}

func TestAnAnnotationThatCannotBeReadRefusesTheRoute(t *testing.T) {
	for key, bad := range map[string]string{annSticky: "moon", annRate: "fast", annBody: "-1", annCompress: "maybe", annAuth: "gone", annTimeout: "soon", annHTTPSOnly: "2", annLogin: "gone", annSession: "8h"} {
		t.Run(key, func(t *testing.T) {
			o := cluster(t)
			r := object[gw.HTTPRoute](t, "metadata: {name: web, namespace: shop}\nspec: {parentRefs: [{name: sampan, namespace: sampan-system}], rules: [{}]}")
			r.Annotations = map[string]string{key: bad}
			o.HTTPRoutes = []*gw.HTTPRoute{r}
			result := Translate(o, Settings{80, 443}, set())
			got := said(result.Status.HTTPRoutes[types.NamespacedName{Namespace: "shop", Name: "web"}])
			if got["Accepted"] != "UnsupportedValue" || result.Table.Rules() != 0 {
				t.Errorf("conditions = %v with %d rules; want that the route is refused", got, result.Table.Rules())
			}
		})
	}
}

func BenchmarkTranslate5000Routes(b *testing.B) {
	o, s := cluster(b), set()
	for i := range 5000 {
		o.HTTPRoutes = append(o.HTTPRoutes, object[gw.HTTPRoute](b, fmt.Sprintf(`
metadata: {name: app-%d, namespace: shop}
spec:
  parentRefs: [{name: sampan, namespace: sampan-system}]
  hostnames: [app-%d.shop.test]
  rules: [{matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{name: web, port: 80, weight: 90}, {name: web, port: 80, weight: 10}]}]`, i, i)))
	}
	for b.Loop() {
		Translate(o, Settings{80, 443}, s)
	}
}
