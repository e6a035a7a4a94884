package route

import (
	"cmp"
	"slices"
	"strings"
)

// entry is one match of one rule.
type entry struct {
	match *Match
	rule  *Rule
	route *Route
	host  string // as the route calls it
	index int    // of the rule, then of the match, in the route
}

func (e *entry) holds(q *query) bool {
	if e.route.OneLabel && strings.HasPrefix(e.host, "*.") {
		if strings.IndexByte(q.host, '.') != len(q.host)-len(e.host)+1 {
			return false
		}
	}
	return e.match.holds(q)
}

// paths are the entries of one host, each list with the first to try in front.
type paths struct {
	exact   map[string][]*entry
	regex   []*entry
	prefix  map[string][]*entry
	longest int // of the prefixes
}

func newPaths() *paths {
	return &paths{exact: map[string][]*entry{}, prefix: map[string][]*entry{}}
}

func (p *paths) add(e *entry) {
	switch path := e.match.Path; path.Kind {
	case Exact:
		p.exact[path.Value] = append(p.exact[path.Value], e)
	case Regex:
		p.regex = append(p.regex, e)
	default:
		p.prefix[path.Value] = append(p.prefix[path.Value], e)
		p.longest = max(p.longest, len(path.Value))
	}
}

func (p *paths) find(path string, q *query) *entry {
	if e := first(p.exact[path], q); e != nil {
		return e
	}
	for _, e := range p.regex {
		if e.match.Path.re.MatchString(path) && e.holds(q) {
			return e
		}
	}
	if len(p.prefix) == 0 {
		return nil
	}
	// From the whole path up, one segment less each time; what is longer than
	// every prefix need not be looked for.
	for end := len(path); ; {
		if end <= p.longest {
			if e := first(p.prefix[path[:end]], q); e != nil {
				return e
			}
		}
		if end <= 0 {
			return nil
		}
		end = strings.LastIndexByte(path[:end], '/')
		if end < 0 {
			// Not a path at all, such as the * of OPTIONS.
			return first(p.prefix[""], q)
		}
	}
}

func first(entries []*entry, q *query) *entry {
	for _, e := range entries {
		if e.holds(q) {
			return e
		}
	}
	return nil
}

// each calls f for every list whose entries stand for one path.
func (p *paths) each(f func([]*entry)) {
	for _, es := range p.exact {
		f(es)
	}
	for _, es := range p.prefix {
		f(es)
	}
	f(p.regex)
}

// order sorts entries by which is to be tried first.
func order(entries []*entry) {
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(
			cmp.Compare(len(b.match.Path.Value), len(a.match.Path.Value)),
			cmp.Compare(flag(b.match.Method != ""), flag(a.match.Method != "")),
			cmp.Compare(len(b.match.Headers), len(a.match.Headers)),
			cmp.Compare(len(b.match.Query), len(a.match.Query)),
			a.route.Created.Compare(b.route.Created),
			cmp.Compare(a.route.Name, b.route.Name),
			cmp.Compare(a.index, b.index),
		)
	})
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
