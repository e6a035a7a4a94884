package network

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Config holds the settings of a Network; errors call them by their keys in the
// configuration file. All but MTU, Pool, Services, NoMasquerade and Reserved are
// required, and no two nodes on a machine may share Dir, NSDir, Bridge, Table or
// Prefix.
type Config struct {
	Dir    string       // what a reboot does not end: where in the range addresses are given out
	NSDir  string       // where namespaces are pinned and whose they are is written down; best on a tmpfs
	Bridge string       // name of the bridge, at most 15 letters
	Table  string       // name of the nftables table
	Prefix netip.Prefix // this node's pod range
	MTU    int          // of the pods' links; zero takes the default route's
	Pool   int          // how many namespaces wait ready

	// Services is the range of Service addresses: checked against the machine's
	// routes, never masqueraded.
	Services netip.Prefix
	// NoMasquerade lists where pods are seen with their own address, besides
	// Prefix and Services: the other nodes' pod ranges.
	NoMasquerade []netip.Prefix
	// Reserved lists host ports that no pod may have.
	Reserved []uint16
}

// bridgePorts is how many ports the kernel gives a bridge (BR_MAX_PORTS less
// port zero).
const bridgePorts = 1023

func (c Config) check() error {
	for name, value := range map[string]string{"directory": c.Dir, "namespace directory": c.NSDir, "bridge": c.Bridge, "table": c.Table} {
		if value == "" {
			return fmt.Errorf("network: no %s is set: %w", name, fault.Invalid)
		}
	}
	if len(c.Bridge) > 15 || strings.ContainsAny(c.Bridge, "/ :\t\n") {
		return fmt.Errorf("network.bridge %q: not a link name (at most 15 letters, no slash, colon or space): %w", c.Bridge, fault.Invalid)
	}
	if !c.Prefix.IsValid() || !c.Prefix.Addr().Is4() || c.Prefix.Bits() > 29 || c.Prefix.Bits() < 8 {
		return fmt.Errorf("network.podCIDR %s: must be an IPv4 range between /8 and /29: %w", c.Prefix, fault.Invalid)
	}
	if c.Services.IsValid() && c.Services.Overlaps(c.Prefix) {
		return fmt.Errorf("network.serviceCIDR %s: overlaps network.podCIDR %s: %w", c.Services, c.Prefix, fault.Invalid)
	}
	if c.Pool < 0 || c.Pool > bridgePorts {
		return fmt.Errorf("network.pool %d: must be between 0 and %d, the ports of a bridge: %w", c.Pool, bridgePorts, fault.Invalid)
	}
	if c.MTU != 0 && (c.MTU < 576 || c.MTU > 65535) {
		return fmt.Errorf("network.mtu %d: must be between 576 and 65535: %w", c.MTU, fault.Invalid)
	}
	return nil
}

// gateway is the bridge's address: the first of the range.
func (c Config) gateway() netip.Addr { return c.Prefix.Masked().Addr().Next() }

func (c Config) podsDir() string    { return filepath.Join(c.NSDir, "pods") }
func (c Config) sysctlFile() string { return filepath.Join(c.Dir, "sysctl.json") }
func (c Config) cursorFile() string { return filepath.Join(c.Dir, "cursor") }

// owner is written on the bridge, so that a later process knows it for its own.
func (c Config) owner() string {
	owner := "sampan " + c.Dir
	if len(owner) > 250 { // IFALIASZ is 256
		owner = owner[:250]
	}
	return owner
}
