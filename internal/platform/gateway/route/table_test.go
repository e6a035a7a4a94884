package route

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// must makes a match of its words: a path (= exact, ~ expression, otherwise a
// prefix), then any of GET, header:name=value, query:name=value, where ~= is an
// expression.
func must(t testing.TB, words string) Match {
	t.Helper()
	var m Match
	for i, w := range strings.Fields(words) {
		kind, rest, _ := strings.Cut(w, ":")
		name, value, _ := strings.Cut(rest, "=")
		isRegex := strings.HasSuffix(name, "~")
		name = strings.TrimSuffix(name, "~")
		var err error
		var v Value
		switch {
		case i == 0 && strings.HasPrefix(w, "="):
			m.Path, err = NewPath(Exact, w[1:])
		case i == 0 && strings.HasPrefix(w, "~"):
			m.Path, err = NewPath(Regex, w[1:])
		case i == 0:
			m.Path, err = NewPath(Prefix, w)
		case kind == "header":
			v, err = NewValue(http.CanonicalHeaderKey(name), value, isRegex)
			m.Headers = append(m.Headers, v)
		case kind == "query":
			v, err = NewValue(name, value, isRegex)
			m.Query = append(m.Query, v)
		default:
			m.Method = w
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// one makes a route with a rule for each match.
func one(t testing.TB, name string, age int, hosts string, matches ...string) *Route {
	r := &Route{Name: name, Created: time.Unix(int64(1000-age), 0), Hosts: strings.Fields(hosts)}
	for _, m := range matches {
		r.Rules = append(r.Rules, &Rule{Matches: []Match{must(t, m)}})
	}
	return r
}

// found is the answer of a lookup in words: the route and the number of its rule.
func found(t *Table, port int, target string, headers ...string) string {
	method, url, ok := strings.Cut(target, " ")
	if !ok {
		method, url = "GET", target
	}
	r := httptest.NewRequest(method, url, nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	f, ok := t.Lookup(port, r)
	if !ok {
		return "none"
	}
	for i, rule := range f.Route.Rules {
		if rule == f.Rule {
			return fmt.Sprintf("%s/%d", f.Route.Name, i)
		}
	}
	return f.Route.Name
}

func TestARequestFallsUnderTheMostExactRule(t *testing.T) {
	routes := []*Route{
		one(t, "exact", 1, "a.test", "/", "/v1", "=/v1", "~/v[0-9]", "/v1/items"),
		one(t, "parts", 1, "b.test", "/", "/ POST", "/ header:Version=2", "/ header:Version=2 header:Env=canary", "/ query:debug=1", "/ GET header:Version=3"),
		one(t, "wild", 1, "*.w.test", "/"),
		one(t, "deeper", 1, "*.x.w.test", "/"),
		one(t, "named", 1, "n.w.test", "/only"),
		one(t, "any", 1, "", "/"),
		one(t, "regex", 1, "r.test", "/ header:Agent~=.*Firefox.*", "/ query:id~=[0-9]+", "/"),
	}
	table, _ := Build([]Listener{{Port: 80, Routes: routes}})
	for name, tt := range map[string]struct {
		target  string
		headers []string
		want    string
	}{
		"exact path before expression and prefix": {"http://a.test/v1", nil, "exact/2"},
		"expression before prefix":                {"http://a.test/v2", nil, "exact/3"},
		"an expression matches the whole path":    {"http://a.test/v2/x", nil, "exact/0"},
		"prefix by segments":                      {"http://a.test/v1/x", nil, "exact/1"},
		"the longest prefix":                      {"http://a.test/v1/items/7", nil, "exact/4"},
		"a prefix ends at a segment":              {"http://a.test/v1/itemsX", nil, "exact/1"},
		"a prefix without its slash":              {"http://a.test/v1/items", nil, "exact/4"},
		"a prefix with a slash after it":          {"http://a.test/v1/items/", nil, "exact/4"},
		"the host's port does not matter":         {"http://a.test:8080/v1", nil, "exact/2"},
		"nor its letters' case":                   {"http://A.TeSt/v1", nil, "exact/2"},
		"method before headers":                   {"POST http://b.test/", []string{"Version: 2"}, "parts/1"},
		"method and header":                       {"http://b.test/", []string{"Version: 3"}, "parts/5"},
		"more headers":                            {"http://b.test/", []string{"Version: 2", "Env: canary"}, "parts/3"},
		"one header":                              {"http://b.test/", []string{"Version: 2"}, "parts/2"},
		"header before query":                     {"http://b.test/?debug=1", []string{"Version: 2"}, "parts/2"},
		"query":                                   {"http://b.test/?debug=1", nil, "parts/4"},
		"the first of a repeated parameter":       {"http://b.test/?debug=0&debug=1", nil, "parts/0"},
		"neither":                                 {"http://b.test/x?debug=2", []string{"Version: 9"}, "parts/0"},
		"repeated headers are one":                {"http://b.test/", []string{"Version: 2", "Version: 2"}, "parts/0"},
		"a wildcard":                              {"http://z.w.test/", nil, "wild/0"},
		"a wildcard of more labels":               {"http://z.y.w.test/", nil, "wild/0"},
		"the longer wildcard":                     {"http://z.x.w.test/", nil, "deeper/0"},
		"a wildcard needs a label":                {"http://w.test/", nil, "any/0"},
		"a named host is not served by others":    {"http://n.w.test/", nil, "none"},
		"the named host":                          {"http://n.w.test/only", nil, "named/0"},
		"any host":                                {"http://else.test/", nil, "any/0"},
		"an address":                              {"http://[::1]:80/", nil, "any/0"},
		"a header's expression":                   {"http://r.test/", []string{"Agent: X Firefox/9"}, "regex/0"},
		"a parameter's expression":                {"http://r.test/?id=12", nil, "regex/1"},
		"an expression that does not hold":        {"http://r.test/?id=12x", nil, "regex/2"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := found(table, 80, tt.target, tt.headers...); got != tt.want {
				t.Errorf("Lookup(%s, %q) = %s; want %s", tt.target, tt.headers, got, tt.want)
			}
		})
	}
	if got := found(table, 81, "http://a.test/"); got != "none" {
		t.Errorf("Lookup on another port = %s; want none", got)
	}
}

func TestListenersOfOnePortAreKeptApartByTheirNames(t *testing.T) {
	a, b, c := one(t, "a", 1, "", "/"), one(t, "b", 1, "*.example.test x.other.test", "/"), one(t, "c", 1, "*.test", "/")
	table, _ := Build([]Listener{
		{Port: 80, Hostname: "", Routes: []*Route{a}},
		{Port: 80, Hostname: "very.example.test", Routes: []*Route{b}},
		{Port: 80, Hostname: "*.example.test", Routes: []*Route{c}},
	})
	for target, want := range map[string]string{
		"http://very.example.test/": "b/0",
		"http://non.example.test/":  "c/0",
		"http://x.other.test/":      "a/0", // not b's: it is attached where that host is not served
	} {
		if got := found(table, 80, target); got != want {
			t.Errorf("Lookup(%s) = %s; want %s", target, got, want)
		}
	}
}

func TestTheOlderRouteKeepsWhatTwoClaim(t *testing.T) {
	old, young := one(t, "old", 9, "a.test b.test", "/", "/x"), one(t, "young", 1, "a.test", "/", "/y")
	table, conflicts := Build([]Listener{{Port: 80, Routes: []*Route{young, old}}, {Port: 443, Routes: []*Route{young}}})
	for target, want := range map[string]string{"http://a.test/": "old/0", "http://a.test/y": "young/1", "http://a.test/x": "old/1"} {
		if got := found(table, 80, target); got != want {
			t.Errorf("Lookup(%s) = %s; want %s", target, got, want)
		}
	}
	if got := found(table, 443, "http://a.test/"); got != "young/0" {
		t.Errorf("Lookup on the port that only the younger has = %s; want young/0", got)
	}
	if len(conflicts) != 1 || conflicts[0].Loser != young || conflicts[0].Winner != old || conflicts[0].Host != "a.test" || conflicts[0].Match != "/*" {
		t.Errorf("conflicts = %+v; want that young lost a.test/* to old", conflicts)
	}
}

func TestAStarOfAnIngressIsOneLabel(t *testing.T) {
	r := one(t, "ingress", 1, "*.a.test", "/")
	r.OneLabel = true
	table, _ := Build([]Listener{{Port: 80, Routes: []*Route{r}}})
	for target, want := range map[string]string{"http://x.a.test/": "ingress/0", "http://y.x.a.test/": "none"} {
		if got := found(table, 80, target); got != want {
			t.Errorf("Lookup(%s) = %s; want %s", target, got, want)
		}
	}
}

func TestIntersect(t *testing.T) {
	for name, tt := range map[string]struct{ listener, route, want string }{
		"all and a name":            {"", "a.test", "a.test"},
		"a name and all":            {"a.test", "", "a.test"},
		"the same name":             {"a.test", "A.test", "a.test"},
		"a wildcard and a name":     {"*.test", "a.test", "a.test"},
		"a name and a wildcard":     {"a.test", "*.test", "a.test"},
		"two wildcards":             {"*.test", "*.a.test", "*.a.test"},
		"two others":                {"*.a.test", "*.test", "*.a.test"},
		"different names":           {"a.test", "b.test", "-"},
		"a wildcard is not its end": {"*.test", "test", "-"},
		"part of a label":           {"*.a.test", "ba.test", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Intersect(tt.listener, tt.route)
			if !ok {
				got = "-"
			}
			if got != tt.want {
				t.Errorf("Intersect(%q, %q) = %q; want %q", tt.listener, tt.route, got, tt.want)
			}
		})
	}
}

func TestHasHostIsOfNamesThatARouteGives(t *testing.T) {
	table, _ := Build([]Listener{{Port: 443, Routes: []*Route{one(t, "a", 1, "a.test *.b.test", "/"), one(t, "any", 1, "", "/")}}})
	for host, want := range map[string]bool{"a.test": true, "x.b.test": true, "c.test": false} {
		if got := table.HasHost(host); got != want {
			t.Errorf("HasHost(%s) = %v; want %v", host, got, want)
		}
	}
}

func manyRoutes(b *testing.B, n int) []*Route {
	var out []*Route
	for i := range n {
		out = append(out, one(b, fmt.Sprintf("HTTPRoute ns/app-%d", i), i, fmt.Sprintf("app-%d.shop.test", i), "/", "/api/v1", "=/healthz"))
	}
	return out
}

func BenchmarkBuild5000Routes(b *testing.B) {
	routes := manyRoutes(b, 5000)
	for b.Loop() {
		Build([]Listener{{Port: 80, Routes: routes}, {Port: 443, Routes: routes}})
	}
}

func BenchmarkLookupAmong5000Routes(b *testing.B) {
	table, _ := Build([]Listener{{Port: 80, Routes: manyRoutes(b, 5000)}})
	r := httptest.NewRequest("GET", "http://app-4321.shop.test/api/v1/items/7?x=y", nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := table.Lookup(80, r); !ok {
			b.Fatal("no route")
		}
	}
}
