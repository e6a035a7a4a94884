package route

// Hosts finds what belongs to a host by the same precedence as a Table: an exact
// name first, then the wildcard with the most labels, then what is for all.
type Hosts[T comparable] struct{ n *names[T] }

// NewHosts returns Hosts without any.
func NewHosts[T comparable]() *Hosts[T] { return &Hosts[T]{newNames[T]()} }

// Find returns what belongs to a host, which is in lower case.
func (h *Hosts[T]) Find(host string) (T, bool) { return h.n.find(host) }

// Get returns what is kept for a name, made by create when there is nothing yet.
func (h *Hosts[T]) Get(name string, create func() T) T { return h.n.get(name, create) }

// Serves tells whether there is any route for a host on a port, be it one for
// every host.
func (t *Table) Serves(port int, host string) bool {
	listeners := t.ports[port]
	if listeners == nil {
		return false
	}
	hosts, ok := listeners.find(host)
	if !ok {
		return false
	}
	_, ok = hosts.find(host)
	return ok
}

// Together tells whether one listener of a port serves two hosts. A client that
// has connected for one may ask for the other on the same connection.
func (t *Table) Together(port int, a, b string) bool {
	listeners := t.ports[port]
	if listeners == nil {
		return true
	}
	of, _ := listeners.find(a)
	ofOther, _ := listeners.find(b)
	return of == ofOther
}
