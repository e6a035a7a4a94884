package server

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/stream"
)

// sorting takes connections out of a port of HTTPS that a TLSRoute has the name
// of.
type sorting struct {
	ID   uint64 `json:"id"`
	Port int    `json:"port"`

	server *Server
}

// CaddyModule returns how Caddy calls the module.
func (sorting) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.sampan_names", New: func() caddy.Module { return new(sorting) }}
}

// Provision finds the gateway.
func (s *sorting) Provision(caddy.Context) (err error) {
	s.server, err = find(s.ID)
	return err
}

// WrapListener returns a listener of what is left.
func (s *sorting) WrapListener(l net.Listener) net.Listener {
	return s.server.streams.Wrap(s.Port, l)
}

// endings is a Caddy app that lets TLS end at the gateway for what is not HTTP,
// with the certificates that HTTPS has, public ones included.
type endings struct {
	ID       uint64                      `json:"id"`
	Policies caddytls.ConnectionPolicies `json:"policies"`
}

// CaddyModule returns how Caddy calls the module.
func (endings) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sampan", New: func() caddy.Module { return new(endings) }}
}

// Provision makes the TLS configuration.
func (e *endings) Provision(ctx caddy.Context) error {
	server, err := find(e.ID)
	if err != nil {
		return err
	}
	if err := e.Policies.Provision(ctx); err != nil {
		return fmt.Errorf("TLS of connections: %w", err)
	}
	conf := e.Policies.TLSConfig(ctx)
	choose := conf.GetConfigForClient
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		chosen, err := choose(hello)
		if err != nil || chosen == nil || slices.Contains(hello.SupportedProtos, stream.AuthorityAsks) {
			return chosen, err
		}
		// What is spoken inside is for the two ends to know: a client that names
		// something else than HTTP is not to be refused for it.
		any := chosen.Clone()
		any.NextProtos = nil
		return any, nil
	}
	server.tls.Store(conf)
	return nil
}

// Start does nothing: the connections are others'.
func (*endings) Start() error { return nil }

// Stop does nothing either.
func (*endings) Stop() error { return nil }

var (
	_ caddy.ListenerWrapper = (*sorting)(nil)
	_ caddy.App             = (*endings)(nil)
	_ caddy.Provisioner     = (*endings)(nil)
)
