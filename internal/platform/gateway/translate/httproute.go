package translate

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// problems are what was found out about a route: something that cannot be done,
// or a reference to what is not there, of which the first of each is told.
type problems struct {
	invalid    verdict
	unresolved verdict
	policies   []*policy        // that matter to its backends
	own        *tls.Certificate // that backends are shown; nil is none
}

func (p *problems) unsupported(format string, args ...any) {
	if p.invalid.ok() {
		p.invalid = verdict{string(gw.RouteReasonUnsupportedValue), fmt.Sprintf(format, args...)}
	}
}

func (p *problems) unresolvedRef(reason gw.RouteConditionReason, format string, args ...any) {
	if p.unresolved.ok() {
		p.unresolved = verdict{string(reason), fmt.Sprintf(format, args...)}
	}
}

// httpRoute puts an HTTPRoute into the table.
func (t *translation) httpRoute(h *gw.HTTPRoute) {
	r := &route.Route{Name: "HTTPRoute " + h.Namespace + "/" + h.Name, Created: h.CreationTimestamp.Time}
	for _, name := range h.Spec.Hostnames {
		r.Hosts = append(r.Hosts, strings.ToLower(string(name)))
	}
	found := problems{own: t.ownOf(h.Namespace, h.Spec.ParentRefs)}
	extras := t.annotations(h.Namespace, h.Annotations, &found)
	for i := range h.Spec.Rules {
		rule := t.httpRule(h, &h.Spec.Rules[i], &found)
		extras.apply(rule)
		r.Rules = append(r.Rules, rule)
	}
	extras.loginPaths(r)
	parents := t.attach("HTTPRoute", &h.ObjectMeta, &h.Spec.CommonRouteSpec, r, found)
	if parents != nil || judged(h.Status.Parents) {
		t.out.Status.HTTPRoutes[types.NamespacedName{Namespace: h.Namespace, Name: h.Name}] = gw.RouteStatus{Parents: parents}
	}
}

func (t *translation) httpRule(h *gw.HTTPRoute, spec *gw.HTTPRouteRule, found *problems) *route.Rule {
	rule := &route.Rule{}
	for i := range spec.Matches {
		rule.Matches = append(rule.Matches, httpMatch(&spec.Matches[i], found))
	}
	if len(rule.Matches) == 0 {
		rule.Matches = []route.Match{{}}
	}
	from := referrer{"HTTPRoute", h.Namespace}
	rule.Filters = t.httpFilters(from, spec.Filters, found)
	for i := range spec.BackendRefs {
		ref := &spec.BackendRefs[i]
		b := t.backend(from, &ref.BackendRef, found)
		if len(ref.Filters) > 0 {
			f := t.httpFilters(from, ref.Filters, found)
			b.Filters = &f
		}
		rule.Backends = append(rule.Backends, b)
	}
	if to := spec.Timeouts; to != nil {
		rule.Timeout = duration(to.Request)
		rule.BackendTimeout = duration(to.BackendRequest)
	}
	if re := spec.Retry; re != nil {
		rule.Retry = &route.Retry{Backoff: duration(re.Backoff), Attempts: 1}
		if re.Attempts != nil {
			rule.Retry.Attempts = *re.Attempts
		}
		for _, c := range re.Codes {
			rule.Retry.Codes = append(rule.Retry.Codes, int(c))
		}
	}
	rule.Sticky = session(spec.SessionPersistence)
	return rule
}

func session(s *gw.SessionPersistence) *route.Sticky {
	if s == nil {
		return nil
	}
	st := &route.Sticky{MaxAge: duration(s.AbsoluteTimeout)}
	if s.SessionName != nil {
		st.Name = *s.SessionName
	}
	if s.Type != nil && *s.Type == gw.HeaderBasedSessionPersistence {
		st.By, st.Name = route.ByHeader, http.CanonicalHeaderKey(st.Name)
	}
	return st
}

// duration reads a Gateway API duration, which is one of Go's too.
func duration(d *gw.Duration) time.Duration {
	if d == nil {
		return 0
	}
	v, err := time.ParseDuration(string(*d))
	if err != nil {
		return 0
	}
	return v
}

func httpMatch(m *gw.HTTPRouteMatch, found *problems) route.Match {
	var out route.Match
	if m.Path != nil {
		kind, value := route.Prefix, "/"
		if m.Path.Type != nil {
			switch *m.Path.Type {
			case gw.PathMatchExact:
				kind = route.Exact
			case gw.PathMatchRegularExpression:
				kind = route.Regex
			}
		}
		if m.Path.Value != nil {
			value = *m.Path.Value
		}
		path, err := route.NewPath(kind, value)
		if err != nil {
			found.unsupported("%v", err)
		}
		out.Path = path
	}
	if m.Method != nil {
		out.Method = string(*m.Method)
	}
	for _, h := range m.Headers {
		isRegex := h.Type != nil && *h.Type == gw.HeaderMatchRegularExpression
		v, err := route.NewValue(http.CanonicalHeaderKey(string(h.Name)), h.Value, isRegex)
		if err != nil {
			found.unsupported("header %v", err)
		}
		out.Headers = append(out.Headers, v)
	}
	for _, q := range m.QueryParams {
		isRegex := q.Type != nil && *q.Type == gw.QueryParamMatchRegularExpression
		v, err := route.NewValue(string(q.Name), q.Value, isRegex)
		if err != nil {
			found.unsupported("query parameter %v", err)
		}
		out.Query = append(out.Query, v)
	}
	return out
}

// httpFilters reads filters. One that we do not know must not be left out in
// silence: the route is refused.
func (t *translation) httpFilters(from referrer, specs []gw.HTTPRouteFilter, found *problems) route.Filters {
	var f route.Filters
	for i := range specs {
		switch spec := &specs[i]; spec.Type {
		case gw.HTTPRouteFilterRequestHeaderModifier:
			f.Request = headerEdit(spec.RequestHeaderModifier)
		case gw.HTTPRouteFilterResponseHeaderModifier:
			f.Response = headerEdit(spec.ResponseHeaderModifier)
		case gw.HTTPRouteFilterRequestRedirect:
			f.Redirect = redirect(spec.RequestRedirect)
		case gw.HTTPRouteFilterURLRewrite:
			f.Rewrite = rewrite(spec.URLRewrite)
		case gw.HTTPRouteFilterRequestMirror:
			f.Mirrors = append(f.Mirrors, t.mirror(from, spec.RequestMirror, found))
		case gw.HTTPRouteFilterCORS:
			f.CORS = cors(spec.CORS)
		default:
			found.unsupported("filter %s is not supported", spec.Type)
		}
	}
	return f
}

func headerEdit(spec *gw.HTTPHeaderFilter) route.HeaderEdit {
	var e route.HeaderEdit
	if spec == nil {
		return e
	}
	for _, h := range spec.Set {
		e.Set = append(e.Set, route.Header{Name: http.CanonicalHeaderKey(string(h.Name)), Value: h.Value})
	}
	for _, h := range spec.Add {
		e.Add = append(e.Add, route.Header{Name: http.CanonicalHeaderKey(string(h.Name)), Value: h.Value})
	}
	for _, name := range spec.Remove {
		e.Remove = append(e.Remove, http.CanonicalHeaderKey(name))
	}
	return e
}

func pathEdit(spec *gw.HTTPPathModifier) *route.PathEdit {
	switch {
	case spec == nil:
		return nil
	case spec.Type == gw.PrefixMatchHTTPPathModifier && spec.ReplacePrefixMatch != nil:
		return &route.PathEdit{Prefix: true, Value: *spec.ReplacePrefixMatch}
	case spec.ReplaceFullPath != nil:
		return &route.PathEdit{Value: *spec.ReplaceFullPath}
	}
	return nil
}

func redirect(spec *gw.HTTPRequestRedirectFilter) *route.Redirect {
	if spec == nil {
		return nil
	}
	r := &route.Redirect{Path: pathEdit(spec.Path)}
	if spec.Scheme != nil {
		r.Scheme = strings.ToLower(*spec.Scheme)
	}
	if spec.Hostname != nil {
		r.Host = string(*spec.Hostname)
	}
	if spec.Port != nil {
		r.Port = int(*spec.Port)
	}
	if spec.StatusCode != nil {
		r.Status = *spec.StatusCode
	}
	return r
}

func rewrite(spec *gw.HTTPURLRewriteFilter) *route.Rewrite {
	if spec == nil {
		return nil
	}
	r := &route.Rewrite{Path: pathEdit(spec.Path)}
	if spec.Hostname != nil {
		r.Host = string(*spec.Hostname)
	}
	return r
}

func (t *translation) mirror(from referrer, spec *gw.HTTPRequestMirrorFilter, found *problems) route.Mirror {
	m := route.Mirror{Numerator: 1, Denominator: 1}
	if spec == nil {
		return m
	}
	b := t.backend(from, &gw.BackendRef{BackendObjectReference: spec.BackendRef}, found)
	m.Port = b.Port
	switch {
	case spec.Percent != nil:
		m.Numerator, m.Denominator = int(*spec.Percent), 100
	case spec.Fraction != nil:
		m.Numerator, m.Denominator = int(spec.Fraction.Numerator), 100
		if d := spec.Fraction.Denominator; d != nil && *d > 0 {
			m.Denominator = int(*d)
		}
	}
	return m
}

func cors(spec *gw.HTTPCORSFilter) *route.CORS {
	if spec == nil {
		return nil
	}
	c := &route.CORS{MaxAge: int(spec.MaxAge), Credentials: spec.AllowCredentials != nil && *spec.AllowCredentials}
	for _, o := range spec.AllowOrigins {
		c.Origins = append(c.Origins, string(o))
	}
	for _, m := range spec.AllowMethods {
		c.Methods = append(c.Methods, string(m))
	}
	for _, h := range spec.AllowHeaders {
		c.Headers = append(c.Headers, string(h))
	}
	for _, h := range spec.ExposeHeaders {
		c.Expose = append(c.Expose, string(h))
	}
	return c
}

// portString is how messages call a port.
func portString(p *gw.PortNumber) string {
	if p == nil {
		return "no port"
	}
	return "port " + strconv.Itoa(int(*p))
}
