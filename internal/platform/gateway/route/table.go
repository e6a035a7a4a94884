// Package route finds the rule that a request falls under.
//
// A Table is built whole from listeners and their routes and never changes
// afterwards, so that a change of routes is one pointer swap and a request sees
// either all of the old routes or all of the new ones. A lookup goes from the
// port to the listener, the host and the path by maps; only the few rules of
// one path are compared one by one.
//
// Precedence is the Gateway API's: the listener and then the host with the
// longest name, an exact path before an expression before the longest prefix, a
// method, most headers, most query parameters, and at last the older route. A
// host that has a route is not served by a less exact one.
package route

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Listener accepts requests on a port, for the hosts under its name.
type Listener struct {
	Port     int
	Hostname string // exact, *.example.com, or empty for all
	Routes   []*Route
}

// A Route is what one object of the API says about some hosts.
type Route struct {
	Name    string    // kind and namespace/name, as messages call it
	Created time.Time // the older route wins
	Hosts   []string  // exact, *.example.com; none is all
	Rules   []*Rule

	// OneLabel says that * stands for one label, as in an Ingress; otherwise for
	// one or more.
	OneLabel bool
}

// Table is all routes. The zero Table has none.
type Table struct {
	ports map[int]*names[*names[*paths]]
	rules int
}

// Rules is how many matches the table holds.
func (t *Table) Rules() int { return t.rules }

// Found is the rule of a request. Prefix is the part of the path that matched
// when it was a prefix that did.
type Found struct {
	*Rule
	Route  *Route
	Prefix string
}

// A Request is what a rule is found by.
type Request struct {
	Method string
	Host   string // as the client wrote it
	Path   string // decoded
	Query  string // not decoded
	Headers
}

// Headers are the fields of a request. Header returns the value of a field whose
// name is canonical; those of several are joined, as RFC 9110 allows.
type Headers interface {
	Header(name string) (string, bool)
}

// Lookup finds the rule of a request to port.
func (t *Table) Lookup(port int, r *http.Request) (Found, bool) {
	return t.Find(port, Request{Method: r.Method, Host: r.Host, Path: r.URL.Path, Query: r.URL.RawQuery, Headers: headers(r.Header)})
}

// Find finds the rule of a request to port.
func (t *Table) Find(port int, r Request) (Found, bool) {
	listeners := t.ports[port]
	if listeners == nil {
		return Found{}, false
	}
	host := Host(r.Host)
	hosts, ok := listeners.find(host)
	if !ok {
		return Found{}, false
	}
	paths, ok := hosts.find(host)
	if !ok {
		return Found{}, false
	}
	q := query{Request: r, host: host}
	e := paths.find(r.Path, &q)
	if e == nil {
		return Found{}, false
	}
	f := Found{Rule: e.rule, Route: e.route}
	if e.match.Path.Kind == Prefix {
		f.Prefix = e.match.Path.Value
	}
	return f, true
}

// HasHost tells whether a route names host, be it by a wildcard. A name under
// which nothing is served needs no certificate.
func (t *Table) HasHost(host string) bool {
	host = Host(host)
	for _, listeners := range t.ports {
		hosts, ok := listeners.find(host)
		if !ok {
			continue
		}
		if paths, ok := hosts.find(host); ok && paths != hosts.all {
			return true
		}
	}
	return false
}

// Host is the name in a Host header, in lower case and without its port.
func Host(h string) string {
	if i := strings.LastIndexByte(h, ':'); i >= 0 && strings.IndexByte(h[i:], ']') < 0 {
		h = h[:i]
	}
	return strings.ToLower(strings.TrimSuffix(h, "."))
}

// query is a request with what has been read of it so far.
type query struct {
	Request
	host   string
	params url.Values
}

func (q *query) param(name string) (string, bool) {
	if q.params == nil {
		// What cannot be read is left out, as net/http does it.
		q.params, _ = url.ParseQuery(q.Query)
	}
	v, ok := q.params[name]
	if !ok {
		return "", false
	}
	return v[0], true
}

// headers are those of net/http.
type headers http.Header

// Header returns the value of a field.
func (h headers) Header(name string) (string, bool) {
	v, ok := h[name]
	switch {
	case !ok:
		return "", false
	case len(v) == 1:
		return v[0], true
	}
	return strings.Join(v, ","), true
}
