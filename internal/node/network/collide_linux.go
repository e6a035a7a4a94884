package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// collisions refuses ranges that the machine already uses. Whatever is routed
// there now would be cut off, or the pods would.
func collisions(h *netlink.Handle, cfg Config) error {
	own := -1
	if link, err := findBridge(h, cfg); err == nil {
		own = link.Attrs().Index
	} else if !errors.Is(err, fault.NotFound) {
		return err
	}
	for _, r := range []struct {
		key   string
		value netip.Prefix
	}{{"network.podCIDR", cfg.Prefix}, {"network.serviceCIDR", cfg.Services}} {
		if !r.value.IsValid() {
			continue
		}
		found, err := collision(h, r.value, own)
		if err != nil {
			return err
		}
		if found != "" {
			return fmt.Errorf("%s %s: this machine already has %s there: set %s to a range that nobody uses: %w",
				r.key, r.value, found, r.key, fault.Precondition)
		}
	}
	return nil
}

// collision names the address or route that overlaps p, except those of the
// link own; empty means none.
func collision(h *netlink.Handle, p netip.Prefix, own int) (string, error) {
	family := netlink.FAMILY_V4
	if p.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	addrs, err := h.AddrList(nil, family)
	if err != nil {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if a.LinkIndex != own && overlap(p, a.IPNet) {
			return fmt.Sprintf("the address %s of link %s", a.IPNet, linkName(h, a.LinkIndex)), nil
		}
	}
	routes, err := h.RouteListFiltered(family, &netlink.Route{}, 0)
	for errors.Is(err, netlink.ErrDumpInterrupted) { // they changed meanwhile
		routes, err = h.RouteListFiltered(family, &netlink.Route{}, 0)
	}
	if err != nil {
		return "", fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		// An unreachable or blackhole route leads nowhere that could be cut off;
		// sites keep them for all private ranges.
		if r.Type != unix.RTN_UNICAST || r.LinkIndex == own || r.Dst == nil {
			continue
		}
		// Two halves of everything are how VPN clients write a default route.
		if bits, _ := r.Dst.Mask.Size(); bits > 1 && overlap(p, r.Dst) {
			return fmt.Sprintf("the route to %s through link %s", r.Dst, linkName(h, r.LinkIndex)), nil
		}
	}
	return "", nil
}

func overlap(p netip.Prefix, n *net.IPNet) bool {
	if n == nil {
		return false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return ok && p.Overlaps(netip.PrefixFrom(addr.Unmap(), bits))
}

func linkName(h *netlink.Handle, index int) string {
	link, err := h.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("number %d", index)
	}
	return link.Attrs().Name
}
