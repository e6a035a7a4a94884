package object

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Gateway is where routes are attached.
type Gateway struct {
	Namespace, Name string
	Domain          string // of the names that apps get without being asked
}

// Host is the name that an app gets without being asked.
func (g Gateway) Host(app *v1alpha1.App) string {
	return app.Name + "." + app.Namespace + "." + g.Domain
}

// Share is a revision's part of the traffic. Without a revision it is that of
// the app's own Service.
type Share struct {
	Revision string
	Weight   int32
}

// Traffic is who gets what. Match, when set, sends the requests that match to
// the revision Matched.
type Traffic struct {
	Shares  []Share
	Match   *v1alpha1.RolloutMatch
	Matched string
	Sticky  bool
}

// gatewayWords begin the annotations that an app's routes take from it: a login,
// a limit and what else the gateway is asked for.
const gatewayWords = "gateway.sampan.dev/"

// annotationSticky asks the gateway to keep a client with its choice.
const annotationSticky = gatewayWords + "sticky"

// Claim is an address that an app asks for.
type Claim struct {
	Host string
	Path string // begins with /
}

// Claims are the addresses that an app asks for, its own name first.
func Claims(app *v1alpha1.App, g Gateway) []Claim {
	if WebPort(&app.Spec) == nil {
		return nil
	}
	out := []Claim{{g.Host(app), "/"}}
	for _, r := range app.Spec.Routes {
		c := Claim{hostOf(app, g, r), pathOf(r)}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

func hostOf(app *v1alpha1.App, g Gateway, r v1alpha1.Route) string {
	if r.Host == "" {
		return g.Host(app)
	}
	return r.Host
}

func pathOf(r v1alpha1.Route) string {
	if r.Path == "" {
		return "/"
	}
	return r.Path
}

// Routes makes one HTTPRoute for each host of the app. Those for which lost
// says true belong to an older app and are left out.
func Routes(app *v1alpha1.App, g Gateway, t Traffic, lost func(Claim) bool) ([]*gw.HTTPRoute, error) {
	first := WebPort(&app.Spec)
	if first == nil {
		return nil, nil
	}
	byHost := map[string][]v1alpha1.Route{}
	for _, r := range app.Spec.Routes {
		if host := hostOf(app, g, r); !lost(Claim{host, pathOf(r)}) {
			byHost[host] = append(byHost[host], r)
		}
	}
	if own := g.Host(app); len(byHost[own]) == 0 && !lost(Claim{own, "/"}) {
		byHost[own] = []v1alpha1.Route{{}}
	}
	var out []*gw.HTTPRoute
	for _, host := range sortedKeys(byHost) {
		route, err := httpRoute(app, g, t, host, byHost[host], first)
		if err != nil {
			return nil, err
		}
		out = append(out, route)
	}
	return out, nil
}

func httpRoute(app *v1alpha1.App, g Gateway, t Traffic, host string, routes []v1alpha1.Route, first *v1alpha1.Port) (*gw.HTTPRoute, error) {
	name := app.Name
	if host != g.Host(app) {
		name += "-" + HashData(host)[:8]
	}
	h := &gw.HTTPRoute{ObjectMeta: meta(app, name, "")}
	words := map[string]string{}
	for k, v := range app.Annotations {
		if strings.HasPrefix(k, gatewayWords) {
			words[k] = v
		}
	}
	if t.Sticky {
		words[annotationSticky] = "cookie:sampan-" + app.Name
	}
	if len(words) > 0 {
		h.Annotations = words
	}
	namespace := gw.Namespace(g.Namespace)
	h.Spec.ParentRefs = []gw.ParentReference{{Name: gw.ObjectName(g.Name), Namespace: &namespace}}
	h.Spec.Hostnames = []gw.Hostname{gw.Hostname(host)}
	for i, r := range routes {
		port := first
		if r.Port != "" {
			if port = FindPort(app.Spec.Ports, r.Port); port == nil {
				return nil, fmt.Errorf("route %d: the app has no port %s: %w", i+1, r.Port, fault.Invalid)
			}
		}
		rule := ruleOf(r)
		if t.Match != nil && t.Matched != "" {
			special := *rule.DeepCopy()
			for j := range special.Matches {
				narrow(&special.Matches[j], t.Match)
			}
			special.BackendRefs = []gw.HTTPBackendRef{backend(app, Share{t.Matched, 100}, port.Port)}
			h.Spec.Rules = append(h.Spec.Rules, special)
		}
		for _, s := range t.Shares {
			rule.BackendRefs = append(rule.BackendRefs, backend(app, s, port.Port))
		}
		h.Spec.Rules = append(h.Spec.Rules, rule)
	}
	return h, nil
}

func backend(app *v1alpha1.App, s Share, number int32) gw.HTTPBackendRef {
	port, weight, name := gw.PortNumber(number), s.Weight, app.Name
	if s.Revision != "" {
		name = Name(app, s.Revision)
	}
	return gw.HTTPBackendRef{BackendRef: gw.BackendRef{
		BackendObjectReference: gw.BackendObjectReference{Name: gw.ObjectName(name), Port: &port}, Weight: &weight,
	}}
}

func ruleOf(r v1alpha1.Route) gw.HTTPRouteRule {
	kind, path := gw.PathMatchPathPrefix, pathOf(r)
	if r.Exact {
		kind = gw.PathMatchExact
	}
	m := gw.HTTPRouteMatch{Path: &gw.HTTPPathMatch{Type: &kind, Value: &path}}
	exact, exactQuery := gw.HeaderMatchExact, gw.QueryParamMatchExact
	for _, name := range sortedKeys(r.Match.Headers) {
		m.Headers = append(m.Headers, gw.HTTPHeaderMatch{Type: &exact, Name: gw.HTTPHeaderName(name), Value: r.Match.Headers[name]})
	}
	for _, name := range sortedKeys(r.Match.Query) {
		m.QueryParams = append(m.QueryParams, gw.HTTPQueryParamMatch{Type: &exactQuery, Name: gw.HTTPHeaderName(name), Value: r.Match.Query[name]})
	}
	rule := gw.HTTPRouteRule{Matches: []gw.HTTPRouteMatch{m}}
	if len(r.Match.Methods) > 0 {
		rule.Matches = nil
		for _, method := range r.Match.Methods {
			one := *m.DeepCopy()
			verb := gw.HTTPMethod(strings.ToUpper(method))
			one.Method = &verb
			rule.Matches = append(rule.Matches, one)
		}
	}
	if r.Rewrite != "" {
		change := &gw.HTTPPathModifier{Type: gw.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: &r.Rewrite}
		if r.Exact {
			change = &gw.HTTPPathModifier{Type: gw.FullPathHTTPPathModifier, ReplaceFullPath: &r.Rewrite}
		}
		rule.Filters = []gw.HTTPRouteFilter{{Type: gw.HTTPRouteFilterURLRewrite, URLRewrite: &gw.HTTPURLRewriteFilter{Path: change}}}
	}
	if r.Timeout != nil {
		d := duration(r.Timeout.Duration)
		rule.Timeouts = &gw.HTTPRouteTimeouts{Request: &d}
	}
	return rule
}

// narrow adds a rollout's own condition to a match.
func narrow(m *gw.HTTPRouteMatch, by *v1alpha1.RolloutMatch) {
	exact, exactQuery, pattern := gw.HeaderMatchExact, gw.QueryParamMatchExact, gw.HeaderMatchRegularExpression
	switch {
	case by.Header != nil:
		m.Headers = append(m.Headers, gw.HTTPHeaderMatch{Type: &exact, Name: gw.HTTPHeaderName(by.Header.Name), Value: by.Header.Value})
	case by.Cookie != nil:
		// The API has no words for cookies.
		m.Headers = append(m.Headers, gw.HTTPHeaderMatch{Type: &pattern, Name: "Cookie",
			Value: `^(.*;\s*)?` + regexp.QuoteMeta(by.Cookie.Name) + "=" + regexp.QuoteMeta(by.Cookie.Value) + `(\s*;.*)?$`})
	case by.Query != nil:
		m.QueryParams = append(m.QueryParams, gw.HTTPQueryParamMatch{Type: &exactQuery, Name: gw.HTTPHeaderName(by.Query.Name), Value: by.Query.Value})
	}
}

// duration writes d as the Gateway API wants it: whole numbers with units.
func duration(d time.Duration) gw.Duration {
	s, ms := d/time.Second, d%time.Second/time.Millisecond
	if ms == 0 {
		return gw.Duration(fmt.Sprintf("%ds", s))
	}
	return gw.Duration(fmt.Sprintf("%ds%dms", s, ms))
}
