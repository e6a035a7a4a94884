package route

import "strings"

// names finds what belongs to a host: an exact name first, then the wildcard
// with the most labels, then what is for all.
type names[T comparable] struct {
	exact map[string]T
	wild  map[string]T // by what follows *, with its dot
	all   T
}

func newNames[T comparable]() *names[T] {
	return &names[T]{exact: map[string]T{}, wild: map[string]T{}}
}

func (n *names[T]) find(host string) (T, bool) {
	var none T
	if v, ok := n.exact[host]; ok {
		return v, true
	}
	if len(n.wild) > 0 {
		for rest := host; ; {
			i := strings.IndexByte(rest, '.')
			if i < 0 {
				break
			}
			if v, ok := n.wild[rest[i:]]; ok && i > 0 {
				return v, true
			}
			rest = rest[i+1:]
		}
	}
	return n.all, n.all != none
}

// get returns what is kept for name, made by create when there is nothing yet.
func (n *names[T]) get(name string, create func() T) T {
	var none T
	switch {
	case name == "" || name == "*":
		if n.all == none {
			n.all = create()
		}
		return n.all
	case strings.HasPrefix(name, "*."):
		return getOrMake(n.wild, strings.ToLower(name[1:]), create)
	}
	return getOrMake(n.exact, strings.ToLower(name), create)
}

func getOrMake[T any](m map[string]T, key string, create func() T) T {
	v, ok := m[key]
	if !ok {
		v = create()
		m[key] = v
	}
	return v
}

// each calls f for everything kept.
func (n *names[T]) each(f func(T)) {
	var none T
	for _, v := range n.exact {
		f(v)
	}
	for _, v := range n.wild {
		f(v)
	}
	if n.all != none {
		f(n.all)
	}
}

// Intersect returns the names that both a listener and a route serve: the more
// exact of the two. It returns false when they have none in common.
func Intersect(listener, route string) (string, bool) {
	listener, route = strings.ToLower(listener), strings.ToLower(route)
	switch {
	case listener == "" || listener == route:
		return route, true
	case route == "":
		return listener, true
	case under(route, listener):
		return route, true
	case under(listener, route):
		return listener, true
	}
	return "", false
}

// under tells whether the wildcard covers name, which may be one itself.
func under(name, wildcard string) bool {
	suffix, ok := strings.CutPrefix(wildcard, "*")
	return ok && strings.HasPrefix(suffix, ".") && len(name) > len(suffix) && strings.HasSuffix(name, suffix)
}
