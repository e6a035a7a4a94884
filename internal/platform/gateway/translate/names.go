package translate

import (
	"maps"
	"slices"
	"strings"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// tellNames finds the names that TLS ends for at the gateway and that nobody has
// given a certificate for. A wildcard is none: no authority gives one for being
// asked over HTTP.
func (t *translation) tellNames(ingresses []route.Listener) {
	names := map[string]bool{}
	add := func(listener string, routes []*route.Route) {
		for _, r := range routes {
			for _, h := range r.Hosts {
				if name, ok := route.Intersect(listener, h); ok && name != "" && !strings.HasPrefix(name, "*") {
					names[name] = true
				}
			}
			if len(r.Hosts) == 0 && listener != "" && !strings.HasPrefix(listener, "*") {
				names[listener] = true
			}
		}
	}
	for _, l := range t.listeners {
		if l.serves() && l.ends() && len(l.pairs) == 0 {
			add(l.hostname, l.routes)
		}
	}
	for _, in := range ingresses {
		if in.Port == t.settings.HTTPSPort {
			add("", in.Routes)
		}
	}
	for _, c := range t.out.Certificates {
		if c.Pair != nil && c.Hostname != "" {
			delete(names, c.Hostname)
		}
	}
	t.out.Names = slices.Sorted(maps.Keys(names))
}
