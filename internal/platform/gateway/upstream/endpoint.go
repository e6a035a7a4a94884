package upstream

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// Protocol is how a backend is spoken to.
type Protocol string

// The protocols that a Service port may name as its appProtocol, and those that
// routes speak below them.
const (
	HTTP1 Protocol = "http"
	H2C   Protocol = "h2c" // HTTP/2 without TLS, as gRPC uses it
	HTTPS Protocol = "https"
	TCP   Protocol = "tcp" // whatever it is: bytes are carried as they are
	UDP   Protocol = "udp"
)

// A Transport sends requests to one endpoint.
type Transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// avoid is how long an endpoint that could not be reached is the last choice.
const avoid = 2 * time.Second

// Endpoint is one address that serves a port. Each has its own connections:
// there is no lock that all requests meet at, and they can be closed when it
// leaves.
type Endpoint struct {
	Addr string // ADDRESS:PORT

	transport Transport
	conns     conns // beside transport's: those that requests are written to as they are
	inFlight  atomic.Int64
	badUntil  atomic.Int64 // unix nanoseconds
	retired   atomic.Bool
}

// InFlight is how many requests are under way to it.
func (e *Endpoint) InFlight() int64 { return e.inFlight.Load() }

// Begin counts a request that is sent to it. Done must be called after it.
func (e *Endpoint) Begin() Transport {
	e.inFlight.Add(1)
	return e.transport
}

// Done ends a request that Begin counted.
func (e *Endpoint) Done() {
	if e.inFlight.Add(-1) == 0 && e.retired.Load() {
		e.closeIdle()
	}
}

// Failed says that it could not be reached.
func (e *Endpoint) Failed() { e.badUntil.Store(time.Now().Add(avoid).UnixNano()) }

// retire closes the connections that have nothing to do, and those that have as
// soon as they have not: an app that ends closes them too, and a request must
// not meet that.
func (e *Endpoint) retire() {
	e.retired.Store(true)
	e.closeIdle()
}

func (e *Endpoint) usable(now int64, not []*Endpoint) bool {
	return e.badUntil.Load() < now && !slices.Contains(not, e)
}
