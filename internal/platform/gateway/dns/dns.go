// Package dns answers the cluster's names.
//
// It is CoreDNS with the few plugins that a cluster needs, in a pod of its own
// on each node: names of Services and pods come from the Kubernetes API, all
// others from the resolvers of the node. It goes on answering from what it knows
// while the API is away.
//
// This package holds its settings, the Corefile made of them and the manifests
// that put it into a cluster; the daemon links that. CoreDNS itself is in
// dns/server and linked by sampan-edge only: it is large, and it defines flags
// of the whole process (among them "version") that other libraries define too.
package dns

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Config holds the settings of the cluster's DNS. Domain is required.
type Config struct {
	Domain     string   `json:"domain"`               // the cluster's, such as cluster.local
	Kubeconfig string   `json:"kubeconfig,omitempty"` // empty: the pod's own service account
	Pods       string   `json:"pods,omitempty"`       // records of pods by address: insecure (as usual), verified or disabled
	Port       int      `json:"port,omitempty"`       // zero is 53
	Bind       []string `json:"bind,omitempty"`       // addresses; none is all

	// Upstreams answer all other names. None means those of ResolvConf, less the
	// ones at loopback, which in a pod are nobody.
	Upstreams  []string `json:"upstreams,omitempty"`
	ResolvConf string   `json:"resolvConf,omitempty"` // empty is /etc/resolv.conf

	// Drain is how long a server that was told to stop goes on answering, until
	// nobody is sent to it any more. Empty is 5s.
	Drain string `json:"drain,omitempty"`

	Health  string `json:"health,omitempty"`  // where liveness is answered; empty is :8080
	Ready   string `json:"ready,omitempty"`   // where readiness is answered; empty is :8181
	Metrics string `json:"metrics,omitempty"` // where Prometheus asks; empty is :9153
}

// Defaulted returns c with what was left out.
func (c Config) Defaulted() Config {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&c.Pods, "insecure"}, {&c.ResolvConf, "/etc/resolv.conf"}, {&c.Drain, "5s"},
		{&c.Health, ":8080"}, {&c.Ready, ":8181"}, {&c.Metrics, ":9153"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if c.Port == 0 {
		c.Port = 53
	}
	return c
}

// Check tells what is wrong with c. Every value becomes part of a Corefile, so
// none may hold what would mean something there.
func (c Config) Check() error {
	if c.Domain == "" || strings.ContainsAny(c.Domain, " \t\n{}\"#:/\\") {
		return fmt.Errorf("dns.domain %q: not a domain: %w", c.Domain, fault.Invalid)
	}
	switch c.Pods {
	case "insecure", "verified", "disabled":
	default:
		return fmt.Errorf("dns.pods %q: must be insecure, verified or disabled: %w", c.Pods, fault.Invalid)
	}
	if c.Port < 1 || c.Port > 65535 {
		return fmt.Errorf("dns.port %d: not a port: %w", c.Port, fault.Invalid)
	}
	for _, b := range c.Bind {
		if _, err := netip.ParseAddr(b); err != nil {
			return fmt.Errorf("dns.bind %q: not an address: %w", b, fault.Invalid)
		}
	}
	for _, u := range c.Upstreams {
		if _, err := upstream(u); err != nil {
			return fmt.Errorf("dns.upstreams %q: not an address with or without a port: %w", u, fault.Invalid)
		}
	}
	for key, addr := range map[string]string{"health": c.Health, "ready": c.Ready, "metrics": c.Metrics} {
		if _, _, err := net.SplitHostPort(addr); err != nil || strings.ContainsAny(addr, " \t\n{}\"#") {
			return fmt.Errorf("dns.%s %q: not an address with a port: %w", key, addr, fault.Invalid)
		}
	}
	if d, err := time.ParseDuration(c.Drain); err != nil || d < 0 || d > 30*time.Second {
		return fmt.Errorf("dns.drain %q: not a duration of at most 30s: %w", c.Drain, fault.Invalid)
	}
	if strings.ContainsAny(c.Kubeconfig, "\n\"{}") {
		return fmt.Errorf("dns.kubeconfig %q: not a path that can be used: %w", c.Kubeconfig, fault.Invalid)
	}
	return nil
}
