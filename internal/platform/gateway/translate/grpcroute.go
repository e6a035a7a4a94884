package translate

import (
	"net/http"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// grpcRoute puts a GRPCRoute into the table: a gRPC method is a path of HTTP/2.
func (t *translation) grpcRoute(g *gw.GRPCRoute) {
	r := &route.Route{Name: "GRPCRoute " + g.Namespace + "/" + g.Name, Created: g.CreationTimestamp.Time}
	for _, name := range g.Spec.Hostnames {
		r.Hosts = append(r.Hosts, strings.ToLower(string(name)))
	}
	found := problems{own: t.ownOf(g.Namespace, g.Spec.ParentRefs)}
	for i := range g.Spec.Rules {
		r.Rules = append(r.Rules, t.grpcRule(g, &g.Spec.Rules[i], &found))
	}
	parents := t.attach("GRPCRoute", &g.ObjectMeta, &g.Spec.CommonRouteSpec, r, found)
	if parents != nil || judged(g.Status.Parents) {
		t.out.Status.GRPCRoutes[types.NamespacedName{Namespace: g.Namespace, Name: g.Name}] = gw.RouteStatus{Parents: parents}
	}
}

func (t *translation) grpcRule(g *gw.GRPCRoute, spec *gw.GRPCRouteRule, found *problems) *route.Rule {
	rule := &route.Rule{Sticky: session(spec.SessionPersistence)}
	for i := range spec.Matches {
		rule.Matches = append(rule.Matches, grpcMatch(&spec.Matches[i], found))
	}
	if len(rule.Matches) == 0 {
		rule.Matches = []route.Match{{}}
	}
	from := referrer{"GRPCRoute", g.Namespace}
	rule.Filters = t.grpcFilters(from, spec.Filters, found)
	for i := range spec.BackendRefs {
		ref := &spec.BackendRefs[i]
		b := t.backend(from, &ref.BackendRef, found)
		if b.Port != nil && b.Port.Protocol == upstream.HTTP1 {
			b.Port = b.Port.Service.Port(b.Port.Number, upstream.H2C)
		}
		if len(ref.Filters) > 0 {
			f := t.grpcFilters(from, ref.Filters, found)
			b.Filters = &f
		}
		rule.Backends = append(rule.Backends, b)
	}
	return rule
}

// grpcFilters are the HTTP filters that gRPC has too.
func (t *translation) grpcFilters(from referrer, specs []gw.GRPCRouteFilter, found *problems) route.Filters {
	var as []gw.HTTPRouteFilter
	for _, f := range specs {
		as = append(as, gw.HTTPRouteFilter{
			Type: gw.HTTPRouteFilterType(f.Type), RequestHeaderModifier: f.RequestHeaderModifier,
			ResponseHeaderModifier: f.ResponseHeaderModifier, RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		})
	}
	return t.httpFilters(from, as, found)
}

func grpcMatch(m *gw.GRPCRouteMatch, found *problems) route.Match {
	var out route.Match
	if mm := m.Method; mm != nil {
		path, err := grpcPath(mm)
		if err != nil {
			found.unsupported("method: %v", err)
		}
		out.Path = path
	}
	for _, h := range m.Headers {
		isRegex := h.Type != nil && *h.Type == gw.GRPCHeaderMatchRegularExpression
		v, err := route.NewValue(http.CanonicalHeaderKey(string(h.Name)), h.Value, isRegex)
		if err != nil {
			found.unsupported("header %v", err)
		}
		out.Headers = append(out.Headers, v)
	}
	return out
}

// grpcPath is a method as the path /SERVICE/METHOD.
func grpcPath(m *gw.GRPCMethodMatch) (route.Path, error) {
	var service, method string
	if m.Service != nil {
		service = *m.Service
	}
	if m.Method != nil {
		method = *m.Method
	}
	isRegex := m.Type != nil && *m.Type == gw.GRPCMethodMatchRegularExpression
	switch {
	case service == "" && method == "":
		return route.Path{}, nil
	case !isRegex && service != "" && method != "":
		return route.NewPath(route.Exact, "/"+service+"/"+method)
	case !isRegex && method == "":
		return route.NewPath(route.Prefix, "/"+service)
	case !isRegex:
		return route.NewPath(route.Regex, "/[^/]+/"+regexp.QuoteMeta(method))
	}
	if service == "" {
		service = "[^/]+"
	}
	if method == "" {
		method = "[^/]+"
	}
	return route.NewPath(route.Regex, "/"+service+"/"+method)
}
