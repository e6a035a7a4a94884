package cert

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// A ClientRule says which certificates clients must have.
type ClientRule struct {
	Roots []*x509.Certificate // who may vouch for them; none is nobody
	// Optional asks for a certificate and takes any, or none: whoever serves the
	// request is to judge.
	Optional bool
}

// ID tells one rule from another. It is empty for none.
func (r *ClientRule) ID() string {
	switch {
	case r == nil:
		return ""
	case r.Optional:
		return "optional"
	case len(r.Roots) == 0:
		return "nobody"
	}
	h := sha256.New()
	for _, c := range r.Roots {
		h.Write(c.Raw)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// Meets tells whether a connection whose client was verified by chains may be
// used for what the rule is of. A connection can be older than the rule, or be
// made for another name.
func (r *ClientRule) Meets(chains [][]*x509.Certificate) bool {
	if r == nil || r.Optional {
		return true
	}
	for _, chain := range chains {
		for _, root := range r.Roots {
			if len(chain) > 0 && chain[len(chain)-1].Equal(root) {
				return true
			}
		}
	}
	return false
}

// ClientName is a name under a listener, and what it asks of clients: nil is
// nothing.
type ClientName struct {
	Port           int
	Listener, Host string
	Rule           *ClientRule
}

// Clients says which certificates the clients of each name must have. Names are
// found as requests find their routes. The zero Clients asks for none.
type Clients struct {
	ports map[int]*route.Hosts[*route.Hosts[*clientRules]]
	rules map[string]*ClientRule
}

type clientRules struct{ rule *ClientRule }

// NewClients returns what names say.
func NewClients(names []ClientName) *Clients {
	c := &Clients{ports: map[int]*route.Hosts[*route.Hosts[*clientRules]]{}, rules: map[string]*ClientRule{}}
	for _, n := range names {
		if n.Rule != nil {
			c.ports[n.Port] = route.NewHosts[*route.Hosts[*clientRules]]()
			c.rules[n.Rule.ID()] = n.Rule
		}
	}
	for _, n := range names {
		port := c.ports[n.Port]
		if port == nil {
			continue
		}
		at := port.Get(n.Listener, route.NewHosts[*clientRules]).Get(n.Host, func() *clientRules { return new(clientRules) })
		at.rule = both(at.rule, n.Rule)
	}
	return c
}

// both is what a name asks for that two listeners serve: the stricter, and from
// two that trust different authorities, more than anybody has.
func both(a, b *ClientRule) *ClientRule {
	switch {
	case a == nil || a.ID() == b.ID() || b != nil && a.Optional:
		return b
	case b == nil || b.Optional:
		return a
	}
	return &ClientRule{}
}

// Rules are the different rules that there are, by their IDs.
func (c *Clients) Rules() map[string]*ClientRule {
	if c == nil {
		return nil
	}
	return c.rules
}

// Find returns what a name on a port asks for; nil is nothing.
func (c *Clients) Find(port int, host string) *ClientRule {
	if c == nil || c.ports[port] == nil {
		return nil
	}
	listener, ok := c.ports[port].Find(strings.ToLower(strings.TrimSuffix(host, ".")))
	if !ok {
		return nil
	}
	if at, ok := listener.Find(strings.ToLower(strings.TrimSuffix(host, "."))); ok {
		return at.rule
	}
	return nil
}
