package server

import (
	"crypto/tls"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/stream"
)

// tlsPolicies are how connections are answered: one way for each rule for
// clients, and one for names that ask for nothing. A name whose rule has no
// policy yet, or that nobody can meet, is answered by none.
func tlsPolicies(id uint64, rules map[string]*cert.ClientRule) []object {
	match := func(rule string) object { return object{"sampan": object{"id": id, "rule": rule}} }
	out := []object{{"match": match("")}}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		rule := rules[name]
		ask := object{"mode": "request"}
		if !rule.Optional {
			var roots []string
			for _, c := range rule.Roots {
				roots = append(roots, base64.StdEncoding.EncodeToString(c.Raw))
			}
			if len(roots) == 0 {
				continue // nobody can meet it
			}
			ask = object{"mode": "require_and_verify", "ca": object{"provider": "inline", "trusted_ca_certs": roots}}
		}
		out = append(out, object{"match": match(name), "client_authentication": ask})
	}
	return out
}

// asking chooses connections by the rule for their clients.
type asking struct {
	ID   uint64 `json:"id"`
	Rule string `json:"rule"`

	server *Server
}

// CaddyModule returns how Caddy calls the module.
func (asking) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.handshake_match.sampan", New: func() caddy.Module { return new(asking) }}
}

// Provision finds the gateway.
func (a *asking) Provision(caddy.Context) (err error) {
	a.server, err = find(a.ID)
	return err
}

// Match tells whether the name that a client asks for has the rule. A public
// authority that looks whether a name is ours has no certificate to show, and is
// shown nothing else.
func (a *asking) Match(hello *tls.ClientHelloInfo) bool {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == stream.AuthorityAsks {
		return a.Rule == ""
	}
	return a.server.asked.Load().Find(cert.LocalPort(hello), hello.ServerName).ID() == a.Rule
}

// misdirected tells whether a request came by a connection that was not made for
// it: its name belongs to another listener, or asks of clients what this one was
// not asked for.
func (s *Server) misdirected(port int, r *http.Request) bool {
	host := route.Host(r.Host)
	if !s.asked.Load().Find(port, host).Meets(r.TLS.VerifiedChains) {
		return true
	}
	name := route.Host(r.TLS.ServerName)
	return name != "" && name != host && !s.proxy.Table().Together(port, name, host)
}

var (
	_ caddytls.ConnectionMatcher = (*asking)(nil)
	_ caddy.Provisioner          = (*asking)(nil)
)
