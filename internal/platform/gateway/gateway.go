// Package gateway gives every app a name, a certificate and a route.
//
// It obeys Gateway API objects and Ingresses: gateway/watch learns of them and
// gateway/translate makes a routing table of them. gateway/server listens: plain
// HTTP/1.1 goes straight to gateway/proxy, which sends requests by the table, and
// whatever else is HTTP gets there through Caddy, which speaks TLS and HTTP/2 and
// 3. gateway/stream carries what is not HTTP.
//
// This package holds the settings and the manifests that put the gateway into a
// cluster; the daemon links that. Caddy is linked by sampan-edge only.
package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Config holds the settings of a gateway. Every one has a default.
type Config struct {
	Kubeconfig string `json:"kubeconfig,omitempty"` // empty: the pod's own service account
	HTTPPort   int    `json:"httpPort,omitempty"`   // of the default Gateway and of Ingresses; zero is 80
	HTTPSPort  int    `json:"httpsPort,omitempty"`  // zero is 443
	Domain     string `json:"domain,omitempty"`     // names under it are local; empty is sampan.local
	Namespace  string `json:"namespace,omitempty"`  // of the default Gateway and the authority; empty is sampan-system

	Admin     string `json:"admin,omitempty"`     // where counters and health are answered; empty is 127.0.0.1:9180
	DataDir   string `json:"dataDir,omitempty"`   // of public certificates; empty is /var/lib/sampan-gateway
	ReadyFile string `json:"readyFile,omitempty"` // made when requests are answered; empty is none

	MaxHeld int    `json:"maxHeld,omitempty"` // requests that wait for an app to start; zero is 1000
	Hold    string `json:"hold,omitempty"`    // how long one waits; empty is 60s
	Drain   string `json:"drain,omitempty"`   // how long requests may take to end when the gateway stops; empty is 30s

	TrustedProxies []string `json:"trustedProxies,omitempty"` // networks whose X-Forwarded headers are believed
	ProxyProtocol  []string `json:"proxyProtocol,omitempty"`  // networks whose PROXY header is believed

	ACME *ACME `json:"acme,omitempty"` // public certificates; nil is none
}

// ACME says who vouches for public names.
type ACME struct {
	Directory string `json:"directory,omitempty"` // empty is Let's Encrypt
	Email     string `json:"email,omitempty"`
	CA        string `json:"ca,omitempty"` // file with certificates to trust the directory by
}

// Defaulted returns c with what was left out.
func (c Config) Defaulted() Config {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&c.Domain, "sampan.local"}, {&c.Namespace, "sampan-system"}, {&c.Admin, "127.0.0.1:9180"},
		{&c.DataDir, "/var/lib/sampan-gateway"}, {&c.Hold, "60s"}, {&c.Drain, "30s"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&c.HTTPPort, 80}, {&c.HTTPSPort, 443}, {&c.MaxHeld, 1000}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return c
}

// Check tells what is wrong with c, which has its defaults.
func (c Config) Check() error {
	for key, port := range map[string]int{"httpPort": c.HTTPPort, "httpsPort": c.HTTPSPort} {
		if port < 1 || port > 65535 {
			return fmt.Errorf("gateway.%s %d: not a port: %w", key, port, fault.Invalid)
		}
	}
	if c.HTTPPort == c.HTTPSPort {
		return fmt.Errorf("gateway.httpsPort %d: is the httpPort too: %w", c.HTTPSPort, fault.Invalid)
	}
	if strings.ContainsAny(c.Domain, " \t\n\"\\/:*") {
		return fmt.Errorf("gateway.domain %q: not a domain: %w", c.Domain, fault.Invalid)
	}
	if _, _, err := net.SplitHostPort(c.Admin); err != nil {
		return fmt.Errorf("gateway.admin %q: not an address with a port: %w", c.Admin, fault.Invalid)
	}
	if c.MaxHeld < 0 {
		return fmt.Errorf("gateway.maxHeld %d: is less than none: %w", c.MaxHeld, fault.Invalid)
	}
	for key, value := range map[string]string{"hold": c.Hold, "drain": c.Drain} {
		if d, err := time.ParseDuration(value); err != nil || d <= 0 || d > time.Hour {
			return fmt.Errorf("gateway.%s %q: not a duration of at most 1h: %w", key, value, fault.Invalid)
		}
	}
	if _, err := networks("trustedProxies", c.TrustedProxies); err != nil {
		return err
	}
	_, err := networks("proxyProtocol", c.ProxyProtocol)
	if err == nil && strings.ContainsAny(c.Namespace, " \t\n\"/") {
		err = fmt.Errorf("gateway.namespace %q: not a namespace: %w", c.Namespace, fault.Invalid)
	}
	return err
}

// HoldTime is how long a request waits for an app to start.
func (c Config) HoldTime() time.Duration { return checked(c.Hold) }

// DrainTime is how long requests may take to end.
func (c Config) DrainTime() time.Duration { return checked(c.Drain) }

// Trusted are the networks whose X-Forwarded headers are believed.
func (c Config) Trusted() []netip.Prefix {
	nets, _ := networks("", c.TrustedProxies) // Check has passed them
	return nets
}

// Proxies are the networks whose PROXY header is believed.
func (c Config) Proxies() []netip.Prefix {
	nets, _ := networks("", c.ProxyProtocol) // Check has passed them
	return nets
}

// checked reads a duration that Check has passed.
func checked(s string) time.Duration {
	d, _ := time.ParseDuration(s)
	return d
}

func networks(key string, values []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, v := range values {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			a, aerr := netip.ParseAddr(v)
			if aerr != nil {
				return nil, fmt.Errorf("gateway.%s %q: neither a network nor an address: %w", key, v, fault.Invalid)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p)
	}
	return out, nil
}
