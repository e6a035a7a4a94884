// Package upstream keeps the places that requests go to: Services, their ports
// and the endpoints behind them, with what is counted of each.
//
// A Set outlives the routing tables that point into it. An endpoint that comes
// or goes is seen by the next request without any table being built. One that
// has left gets no new request, finishes those under way, and closes its idle
// connections.
package upstream

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Set is all Services that are known or routed to.
type Set struct {
	newTransport func(Protocol, *TLS) Transport
	mu           sync.Mutex
	services     map[string]*Service
}

// NewSet returns an empty Set whose endpoints are reached by what newTransport
// makes, one for each.
func NewSet(newTransport func(Protocol, *TLS) Transport) *Set {
	return &Set{newTransport: newTransport, services: map[string]*Service{}}
}

// Service returns the Service of a key NAMESPACE/NAME. One that is not in the
// cluster has no endpoints.
func (s *Set) Service(key string) *Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.services[key]
	if !ok {
		v = &Service{Key: key, newTransport: s.newTransport, ports: map[portKey]*Port{}}
		s.services[key] = v
	}
	return v
}

// Services returns all of them, by key.
func (s *Set) Services() map[string]*Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]*Service, len(s.services))
	for k, v := range s.services {
		out[k] = v
	}
	return out
}

// Forget drops a Service that was deleted. A table that still points to it sees
// it without endpoints.
func (s *Set) Forget(key string) {
	s.mu.Lock()
	v := s.services[key]
	delete(s.services, key)
	s.mu.Unlock()
	if v == nil {
		return
	}
	v.SetApp("")
	for _, p := range v.Ports() {
		p.SetAddrs(nil, nil)
	}
}

// Service is what a Service of the cluster is to the gateway.
type Service struct {
	Key   string // NAMESPACE/NAME
	Stats Stats

	newTransport func(Protocol, *TLS) Transport
	app          atomic.Pointer[string]
	mu           sync.Mutex
	ports        map[portKey]*Port
}

type portKey struct {
	number   int
	protocol Protocol
	tls      string
}

// App is the App whose Service this is, which can be woken; empty for none.
func (s *Service) App() string {
	if p := s.app.Load(); p != nil {
		return *p
	}
	return ""
}

// SetApp says whose Service this is.
func (s *Service) SetApp(name string) { s.app.Store(&name) }

// Port returns a port of the Service, to be spoken to in a protocol.
func (s *Service) Port(number int, protocol Protocol) *Port { return s.port(number, protocol, nil) }

// SecurePort returns a port of the Service whose endpoints must prove who they
// are. With other demands it is another port, with connections of its own.
func (s *Service) SecurePort(number int, who *TLS) *Port { return s.port(number, HTTPS, who) }

func (s *Service) port(number int, protocol Protocol, who *TLS) *Port {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := portKey{number, protocol, who.key()}
	p, ok := s.ports[key]
	if !ok {
		p = &Port{Service: s, Number: number, Protocol: protocol, TLS: who, changed: make(chan struct{})}
		p.endpoints.Store(&[]*Endpoint{})
		s.ports[key] = p
	}
	return p
}

// Ports returns the ports that somebody asked for.
func (s *Service) Ports() []*Port {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Port
	for _, p := range s.ports {
		out = append(out, p)
	}
	return out
}

// Port is one port of a Service, and the endpoints that serve it now.
type Port struct {
	Service  *Service
	Number   int
	Protocol Protocol
	TLS      *TLS // of HTTPS

	endpoints atomic.Pointer[[]*Endpoint]
	known     atomic.Bool // whether somebody has said which there are
	knocking  atomic.Bool // whether somebody asks those that are starting

	mu        sync.Mutex      // of changes, and of what follows
	changed   chan struct{}   // closed at the next change
	ready     []string        // addresses that serve
	starting  []string        // addresses that serve as soon as they take a connection
	listening map[string]bool // those of starting that have taken one
}

// Endpoints returns those that serve now. The slice is not to be changed.
func (p *Port) Endpoints() []*Endpoint { return *p.endpoints.Load() }

// Known tells whether SetAddrs has been called.
func (p *Port) Known() bool { return p.known.Load() }

// SetAddrs says which addresses serve now, each with its port, and which will
// serve as soon as they take a connection. Those that stay keep their
// connections and counts.
func (p *Port) SetAddrs(ready, starting []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known.Store(true)
	p.ready, p.starting = ready, starting
	for a := range p.listening {
		if !slices.Contains(starting, a) {
			delete(p.listening, a)
		}
	}
	p.arrange()
}

// Starting returns the addresses that will serve as soon as they take a
// connection and have taken none yet.
func (p *Port) Starting() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.starting), func(a string) bool { return p.listening[a] })
}

// Listens says that one of them has taken a connection.
func (p *Port) Listens(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.starting, addr) {
		return // it went away, or is ready by now
	}
	if p.listening == nil {
		p.listening = map[string]bool{}
	}
	p.listening[addr] = true
	p.arrange()
}

// arrange makes the endpoints of the addresses that serve. mu is held.
func (p *Port) arrange() {
	addrs := slices.Clone(p.ready)
	for _, a := range p.starting {
		if p.listening[a] {
			addrs = append(addrs, a)
		}
	}
	old := p.Endpoints()
	next := make([]*Endpoint, 0, len(addrs))
	known := make(map[string]*Endpoint, len(old))
	for _, e := range old {
		known[e.Addr] = e
	}
	for _, a := range addrs {
		if e, ok := known[a]; ok {
			next = append(next, e)
			delete(known, a)
			continue
		}
		next = append(next, &Endpoint{Addr: a, transport: p.Service.newTransport(p.Protocol, p.TLS)})
	}
	if len(known) == 0 && slices.Equal(old, next) && len(p.starting) == 0 {
		return
	}
	p.endpoints.Store(&next)
	close(p.changed)
	p.changed = make(chan struct{})
	for _, gone := range known {
		gone.retire()
	}
}

// Changed returns a channel that is closed when the endpoints change. Take it
// before looking at them.
func (p *Port) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Pick chooses an endpoint for a request: of two at random the one with less
// under way, which is nearly as good as the least of all and costs the same for
// ten as for a thousand. Endpoints in not, which have failed this request, are
// left out; those that refused somebody a moment ago are taken when there is no
// other. It returns nil when none is left.
func (p *Port) Pick(random func(n int) int, not []*Endpoint) *Endpoint {
	all := p.Endpoints()
	n := len(all)
	if n == 0 {
		return nil
	}
	now := time.Now().UnixNano()
	i := random(n)
	a := all[i]
	if n == 1 {
		if slices.Contains(not, a) {
			return nil
		}
		return a
	}
	b := all[(i+1+random(n-1))%n]
	if a.usable(now, not) && b.usable(now, not) {
		if b.inFlight.Load() < a.inFlight.Load() {
			return b
		}
		return a
	}
	var last *Endpoint
	for k := range n {
		e := all[(i+k)%n]
		if e.usable(now, not) {
			return e
		}
		if last == nil && !slices.Contains(not, e) {
			last = e
		}
	}
	return last
}
