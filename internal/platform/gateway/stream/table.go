package stream

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// Protocol is what a listener speaks.
type Protocol int

// The protocols of listeners. HTTPS is served by others: it is here since it may
// share a port with TLS, and then the name that a client asks for decides.
const (
	TCP Protocol = iota
	UDP
	Passthrough // TLS that ends at the backend
	Terminate   // TLS that ends here
	HTTPS
)

// A Listener takes connections or datagrams on a port.
type Listener struct {
	Port     int
	Protocol Protocol
	Hostname string         // of TLS: exact, *.example.com, or empty for all
	Routes   []*route.Route // each with one rule that counts, the first
}

// Target is where a connection goes.
type Target struct {
	Route     *route.Route
	Backends  []route.Backend
	Terminate bool
}

// Table says where what comes in on each port goes. It is built whole and never
// changes afterwards. The zero Table has nothing.
type Table struct {
	tcp, udp map[int]*Target
	tls      map[int]*route.Hosts[*names]
	https    map[int]bool // of those in tls
}

// names are the listeners of one hostname on a port of TLS.
type names struct {
	hosts *route.Hosts[*Target]
	https bool // what no route names is HTTPS
}

// Build makes a table. What two routes claim belongs to the older one, and each
// such claim is reported. A port of HTTPS alone is not in the table.
func Build(listeners []Listener) (*Table, []route.Conflict) {
	t := &Table{tcp: map[int]*Target{}, udp: map[int]*Target{}, tls: map[int]*route.Hosts[*names]{}, https: map[int]bool{}}
	for _, l := range listeners {
		if l.Protocol == Passthrough || l.Protocol == Terminate {
			t.tls[l.Port] = route.NewHosts[*names]()
		}
	}
	var conflicts []route.Conflict
	claim := func(target *Target, r *route.Route, terminate bool, host string) {
		if target.Route != nil {
			if target.Route != r {
				conflicts = append(conflicts, route.Conflict{Loser: r, Winner: target.Route, Host: host})
			}
			return
		}
		*target = Target{Route: r, Terminate: terminate}
		if len(r.Rules) > 0 {
			target.Backends = r.Rules[0].Backends
		}
	}
	for _, l := range listeners {
		routes := slices.SortedFunc(slices.Values(l.Routes), func(a, b *route.Route) int {
			return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
		})
		switch l.Protocol {
		case TCP, UDP:
			ports := t.tcp
			if l.Protocol == UDP {
				ports = t.udp
			}
			if ports[l.Port] == nil {
				ports[l.Port] = &Target{}
			}
			for _, r := range routes {
				claim(ports[l.Port], r, false, "the port")
			}
			continue
		}
		port := t.tls[l.Port]
		if port == nil {
			continue
		}
		at := port.Get(l.Hostname, func() *names { return &names{hosts: route.NewHosts[*Target]()} })
		if l.Protocol == HTTPS {
			at.https, t.https[l.Port] = true, true
			continue
		}
		for _, r := range routes {
			for _, h := range r.Hosts {
				name, ok := route.Intersect(l.Hostname, h)
				if !ok {
					continue
				}
				claim(at.hosts.Get(name, func() *Target { return &Target{} }), r, l.Protocol == Terminate, name)
			}
		}
	}
	return t, conflicts
}

// sorts tells whether connections to a port are told apart by the name that they
// ask for.
func (t *Table) sorts(port int) bool { return t.tls[port] != nil }

// byName finds the target of a connection that asks for a name. Without one,
// https tells whether it is to be taken for HTTPS. As with requests, the most
// exact listener has the name, whether or not it has a route for it.
func (t *Table) byName(port int, name string) (target *Target, https bool) {
	listeners := t.tls[port]
	if listeners == nil {
		return nil, t.tcp[port] == nil
	}
	at, ok := listeners.Find(name)
	if !ok {
		return nil, false
	}
	if target, ok := at.hosts.Find(name); ok {
		return target, false
	}
	return nil, at.https
}

// ports are those that nobody else listens on.
func (t *Table) ports() (tcp, udp map[int]bool) {
	tcp, udp = map[int]bool{}, map[int]bool{}
	for p := range t.tcp {
		tcp[p] = true
	}
	for p := range t.tls {
		if !t.https[p] {
			tcp[p] = true
		}
	}
	for p := range t.udp {
		udp[p] = true
	}
	return tcp, udp
}

// choose takes one of the backends by their weights. It returns nil when none
// has any.
func (t *Target) choose() *route.Backend {
	total := 0
	for i := range t.Backends {
		total += t.Backends[i].Weight
	}
	if total == 0 {
		return nil
	}
	n := rand.IntN(total)
	for i := range t.Backends {
		if n -= t.Backends[i].Weight; n < 0 {
			return &t.Backends[i]
		}
	}
	return nil
}
