package kube

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestConfigComplete(t *testing.T) {
	good := Config{Dir: "/data", NodeName: "n1", NodeIP: netip.MustParseAddr("192.0.2.7"), CRISocket: "/run/cri.sock"}
	for name, tt := range map[string]struct {
		edit func(*Config)
		want string // in the error; empty for none
	}{
		"the least is enough":                {func(*Config) {}, ""},
		"a node needs a name":                {func(c *Config) { c.NodeName = "" }, "NodeName"},
		"a node needs an address":            {func(c *Config) { c.NodeIP = netip.Addr{} }, "node address"},
		"pods cannot reach loopback":         {func(c *Config) { c.NodeIP = netip.MustParseAddr("127.0.0.1") }, "127.0.0.1"},
		"the ranges must not overlap":        {func(c *Config) { c.PodCIDR = netip.MustParsePrefix("10.96.128.0/24") }, "overlaps"},
		"DNS is a service":                   {func(c *Config) { c.ClusterDNS = netip.MustParseAddr("10.1.0.10") }, "outside the service range"},
		"a socket's path has a longest size": {func(c *Config) { c.RunDir = "/" + strings.Repeat("x", 100) }, "107"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			tt.edit(&c)
			_, err := c.complete()
			if tt.want == "" {
				if err != nil {
					t.Errorf("complete() = %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || fault.Of(err) != fault.Invalid {
				t.Errorf("complete() = %v (%s); want invalid, with %q", err, fault.Of(err), tt.want)
			}
		})
	}
}

func TestConfigDefaults(t *testing.T) {
	c, err := Config{Dir: "/data", NodeName: "n1", NodeIP: netip.MustParseAddr("192.0.2.7"), CRISocket: "/run/cri.sock",
		BindAddresses: []netip.Addr{netip.MustParseAddr("198.51.100.1")}}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ClusterDNS.String(); got != "10.96.0.10" {
		t.Errorf("DNS address = %s, want the tenth of the service range", got)
	}
	if got := c.BindAddresses[0].String(); got != "127.0.0.1" || len(c.BindAddresses) != 2 {
		t.Errorf("bound to %v; want loopback first, where the components call", c.BindAddresses)
	}
	// 500 pods at once and 500 addresses that have just been given back.
	if got := c.nodeMask(); got != 22 {
		t.Errorf("nodeMask() = %d, want 22", got)
	}
	all := netip.IPv4Unspecified()
	c.BindAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.7"), all}
	if c, err = c.complete(); err != nil || len(c.BindAddresses) != 1 || c.BindAddresses[0] != all {
		t.Errorf("bound to %v, %v; want 0.0.0.0 alone, which takes the port everywhere", c.BindAddresses, err)
	}
}
