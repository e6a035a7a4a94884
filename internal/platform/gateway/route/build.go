package route

// A Conflict is a match that an older route has taken already.
type Conflict struct {
	Loser, Winner *Route
	Host          string
	Match         string
}

// Build makes a table. A match that two routes claim on one host belongs to the
// older one, and each such claim is reported.
func Build(listeners []Listener) (*Table, []Conflict) {
	t := &Table{ports: map[int]*names[*names[*paths]]{}}
	type placed struct {
		paths *paths
		route *Route
		host  string
	}
	seen := map[placed]bool{} // listeners that are one to a client share their routes
	for _, l := range listeners {
		ports, ok := t.ports[l.Port]
		if !ok {
			ports = newNames[*names[*paths]]()
			t.ports[l.Port] = ports
		}
		hosts := ports.get(l.Hostname, newNames[*paths])
		for _, r := range l.Routes {
			for _, h := range within(l.Hostname, r.Hosts) {
				p := hosts.get(h, newPaths)
				if key := (placed{p, r, h}); !seen[key] {
					seen[key] = true
					t.rules += place(p, r, h)
				}
			}
		}
	}
	var conflicts []Conflict
	for _, ports := range t.ports {
		ports.each(func(hosts *names[*paths]) {
			hosts.each(func(p *paths) {
				p.each(func(es []*entry) {
					order(es)
					conflicts = append(conflicts, claims(es)...)
				})
			})
		})
	}
	return t, conflicts
}

// within returns the names of a route that a listener serves.
func within(listener string, hosts []string) []string {
	if len(hosts) == 0 {
		return []string{listener}
	}
	var out []string
	for _, h := range hosts {
		if name, ok := Intersect(listener, h); ok {
			out = append(out, name)
		}
	}
	return out
}

func place(p *paths, r *Route, host string) int {
	n := 0
	for _, rule := range r.Rules {
		if rule.Host != "" && rule.Host != host {
			continue
		}
		for i := range rule.Matches {
			p.add(&entry{match: &rule.Matches[i], rule: rule, route: r, host: host, index: n})
			n++
		}
	}
	return n
}

// claims finds the entries of sorted ones that can never be reached, since
// another route's says the same.
func claims(es []*entry) []Conflict {
	if len(es) < 2 {
		return nil
	}
	var out []Conflict
	first := make(map[string]*entry, len(es))
	for _, e := range es {
		said := e.match.String()
		winner, taken := first[said]
		if !taken {
			first[said] = e
			continue
		}
		if winner.route != e.route {
			out = append(out, Conflict{Loser: e.route, Winner: winner.route, Host: e.host, Match: said})
		}
	}
	return out
}
