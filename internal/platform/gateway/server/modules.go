package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
)

// Caddy makes its modules by name from JSON and gives them nothing else, so
// what they work with has to be found by name too. This is the one place where
// that is so: running holds each Server while it runs, by the number that its
// configuration carries.
var running sync.Map // uint64 → *Server

func init() {
	caddy.RegisterModule(handler{})
	caddy.RegisterModule(certificates{})
	caddy.RegisterModule(accepting{})
	caddy.RegisterModule(sorting{})
	caddy.RegisterModule(endings{})
	caddy.RegisterModule(asking{})
}

func find(id uint64) (*Server, error) {
	s, ok := running.Load(id)
	if !ok {
		return nil, fmt.Errorf("gateway %d does not run", id)
	}
	return s.(*Server), nil
}

// handler answers all requests of one port.
type handler struct {
	ID   uint64 `json:"id"`
	Port int    `json:"port"`

	server *Server
}

// CaddyModule returns how Caddy calls the module.
func (handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.sampan", New: func() caddy.Module { return new(handler) }}
}

// Provision finds the gateway.
func (h *handler) Provision(caddy.Context) (err error) {
	h.server, err = find(h.ID)
	return err
}

// ServeHTTP answers a request. There is no next handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	// Who answers is the app, and its own name, if it says one, is what counts.
	delete(w.Header(), "Server")
	h.server.serve(h.Port, w, r)
	return nil
}

// certificates shows clients what the Store says.
type certificates struct {
	ID uint64 `json:"id"`

	server *Server
}

// CaddyModule returns how Caddy calls the module.
func (certificates) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.get_certificate.sampan", New: func() caddy.Module { return new(certificates) }}
}

// Provision finds the gateway.
func (c *certificates) Provision(caddy.Context) (err error) {
	c.server, err = find(c.ID)
	return err
}

// GetCertificate chooses the certificate for a connection.
func (c *certificates) GetCertificate(_ context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.server.certs.Get(hello)
}

// accepting lets a Server stop to accept connections before it stops serving
// those it has, and answer what is plain before Caddy sees it.
type accepting struct {
	ID    uint64 `json:"id"`
	Port  int    `json:"port"`
	Plain bool   `json:"plain"` // what comes is HTTP from its first byte on

	server *Server
}

// CaddyModule returns how Caddy calls the module.
func (accepting) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.sampan", New: func() caddy.Module { return new(accepting) }}
}

// Provision finds the gateway.
func (a *accepting) Provision(caddy.Context) (err error) {
	a.server, err = find(a.ID)
	return err
}

// WrapListener keeps the listener for the Server to close.
func (a *accepting) WrapListener(l net.Listener) net.Listener {
	a.server.doors.add(l)
	if a.Plain {
		return a.server.front(a.Port, l)
	}
	return l
}

var (
	_ caddyhttp.MiddlewareHandler = (*handler)(nil)
	_ caddy.Provisioner           = (*handler)(nil)
	_ certmagic.Manager           = (*certificates)(nil)
	_ caddy.ListenerWrapper       = (*accepting)(nil)
)
