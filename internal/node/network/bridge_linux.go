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

// ensureBridge finds the node's bridge or makes it, with its address and up.
func ensureBridge(h *netlink.Handle, cfg Config, mtu int) (index int, err error) {
	link, err := findBridge(h, cfg)
	if errors.Is(err, fault.NotFound) {
		link, err = makeBridge(h, cfg, mtu)
	}
	if err != nil {
		return 0, err
	}
	gateway := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(cfg.gateway(), cfg.Prefix.Bits()))}
	if err := h.AddrReplace(link, gateway); err != nil {
		return 0, fmt.Errorf("bridge %s: give it %s: %w", cfg.Bridge, gateway.IPNet, err)
	}
	if err := dropOtherAddrs(h, link, gateway.IPNet); err != nil {
		return 0, fmt.Errorf("bridge %s: %w", cfg.Bridge, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("bridge %s: set up: %w", cfg.Bridge, err)
	}
	return link.Attrs().Index, nil
}

// dropOtherAddrs takes away what an earlier range has left on the bridge.
func dropOtherAddrs(h *netlink.Handle, bridge netlink.Link, keep *net.IPNet) error {
	addrs, err := h.AddrList(bridge, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if a.IPNet.String() == keep.String() {
			continue
		}
		if err := h.AddrDel(bridge, &a); err != nil {
			return fmt.Errorf("remove address %s: %w", a.IPNet, err)
		}
	}
	return nil
}

// findBridge returns the bridge that an earlier process of this node made. A
// link of that name that is somebody else's is not touched.
func findBridge(h *netlink.Handle, cfg Config) (netlink.Link, error) {
	link, err := h.LinkByName(cfg.Bridge)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, fmt.Errorf("bridge %s: %w", cfg.Bridge, fault.NotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("look for bridge %s: %w", cfg.Bridge, err)
	}
	if link.Type() != "bridge" || link.Attrs().Alias != cfg.owner() {
		return nil, fmt.Errorf("network.bridge %s: the name is taken by a %s link (index %d) that is not this node's: set another name or remove it with `ip link del %s`: %w",
			cfg.Bridge, link.Type(), link.Attrs().Index, cfg.Bridge, fault.Exists)
	}
	return link, nil
}

func makeBridge(h *netlink.Handle, cfg Config, mtu int) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Alias = cfg.Bridge, mtu, cfg.owner()
	// A bridge without an address of its own takes the lowest of its ports' and
	// changes it whenever they come and go; the pods' entries would go stale.
	attrs.HardwareAddr = macOf(cfg.gateway())
	snooping := false
	link := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
	if err := h.LinkAdd(link); err != nil {
		return nil, fmt.Errorf("make bridge %s: %w", cfg.Bridge, kernelLacks(err, "bridges (CONFIG_BRIDGE, module bridge)"))
	}
	// The kernel takes no alias while it makes a link.
	if err := h.LinkSetAlias(link, attrs.Alias); err != nil {
		return nil, errors.Join(fmt.Errorf("mark bridge %s: %w", cfg.Bridge, err), h.LinkDel(link))
	}
	// Without this each port and the bridge would take a link-local address,
	// and detect duplicates of it among all the others.
	if err := noLinkLocal(h, link); err != nil {
		return nil, errors.Join(fmt.Errorf("bridge %s: %w", cfg.Bridge, err), h.LinkDel(link))
	}
	return link, nil
}

// noLinkLocal keeps a link from making itself an IPv6 address.
func noLinkLocal(h *netlink.Handle, link netlink.Link) error {
	const none = 1 // IN6_ADDR_GEN_MODE_NONE
	err := h.LinkSetIP6AddrGenMode(link, none)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // a kernel without IPv6
	}
	if err != nil {
		return fmt.Errorf("turn off IPv6 address generation: %w", err)
	}
	return nil
}

// ports lists the links that are ports of the bridge.
func ports(h *netlink.Handle, bridge int) ([]netlink.Link, error) {
	links, err := linkList(h)
	if err != nil {
		return nil, err
	}
	var of []netlink.Link
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge {
			of = append(of, l)
		}
	}
	return of, nil
}

// otherBridges names the bridges of the machine that are not this node's.
func otherBridges(h *netlink.Handle, cfg Config) ([]string, error) {
	links, err := linkList(h)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range links {
		if l.Type() == "bridge" && l.Attrs().Name != cfg.Bridge {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}

// linkList repeats a listing that links coming and going interrupted.
func linkList(h *netlink.Handle) ([]netlink.Link, error) {
	for {
		links, err := h.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list links: %w", err)
		}
		return links, nil
	}
}

// defaultMTU is that of the link which the default route uses.
func defaultMTU(h *netlink.Handle) int {
	routes, err := h.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return 1500
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		if link, err := h.LinkByIndex(r.LinkIndex); err == nil && link.Attrs().MTU > 0 {
			return link.Attrs().MTU
		}
	}
	return 1500
}

// kernelLacks makes the errors with which a kernel says that it does not know
// something into one that names it.
func kernelLacks(err error, what string) error {
	for _, unknown := range []error{unix.EOPNOTSUPP, unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.ENOSYS} {
		if errors.Is(err, unknown) {
			return fmt.Errorf("this kernel has no %s: %w", what, fault.Unsupported)
		}
	}
	return err
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
