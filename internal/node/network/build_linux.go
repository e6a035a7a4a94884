package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// space is a complete network namespace that is no pod's yet.
type space struct {
	path string // where it is pinned
	addr netip.Addr
}

// builder makes network namespaces and their link to the bridge.
type builder struct {
	host    *netlink.Handle // in the node's namespace
	dir     string
	mtu     int
	gateway netip.Addr
	bridge  atomic.Int64 // its link index, another one if it had to be made again
}

// build makes the namespace that has the address addr, or takes the one at the
// path given. It leaves nothing when it fails.
func (b *builder) build(addr netip.Addr, given string) (space, error) {
	// The time makes the path one that no earlier namespace had, so that whoever
	// still holds that one's cannot join this one.
	s := space{addr: addr, path: filepath.Join(b.dir, addr.String()+"-"+strconv.FormatInt(time.Now().UnixNano(), 36))}
	err := onOwnThread(func() error {
		if err := enterNetNS(given); err != nil {
			return err
		}
		if err := tunePod(); err != nil {
			return err
		}
		if err := pin(s.path); err != nil {
			return err
		}
		if err := b.connect(addr); err != nil {
			// Unpinning ends the namespace and, with it, both ends of the link.
			return errors.Join(err, unpin(s.path))
		}
		return nil
	})
	if err != nil {
		return space{}, fmt.Errorf("make a namespace for %s: %w", addr, err)
	}
	return s, nil
}

// tunePod sets what pods expect of a fresh namespace, before any link is in it.
func tunePod() error {
	for _, s := range []struct{ name, value string }{
		// Without this eth0 would take a link-local address and probe for it.
		// The loopback link is there already and keeps ::1.
		{"net/ipv6/conf/default/disable_ipv6", "1"},
		// A process in its own namespace takes nobody's port or ping away, so it
		// needs no privilege for them. containerd and docker do the same.
		{"net/ipv4/ip_unprivileged_port_start", "0"},
		{"net/ipv4/ping_group_range", "0 2147483647"},
	} {
		err := os.WriteFile(filepath.Join("/proc/sys", s.name), []byte(s.value), 0o644)
		if err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	return nil
}

// connect joins the calling thread's namespace to the bridge.
func (b *builder) connect(addr netip.Addr) error {
	ns, err := os.Open(threadNetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	port, err := b.addPort(addr, int(ns.Fd()))
	if err != nil {
		return err
	}
	if err := b.insidePod(addr); err != nil {
		return errors.Join(err, b.host.LinkDel(port), b.host.NeighDel(b.onBridge(addr)))
	}
	return nil
}

// addPort makes the pair of links, one end in the namespace ns as eth0, the
// other a port of the bridge.
func (b *builder) addPort(addr netip.Addr, ns int) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = linkOf(addr), b.mtu, int(b.bridge.Load())
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = "eth0", macOf(addr), uint32(b.mtu)
	veth.PeerNamespace = netlink.NsFd(ns)
	if err := b.host.LinkAdd(veth); err != nil {
		if veth.Index != 0 { // it was made, but did not become a port
			b.host.LinkDel(veth)
		}
		if errors.Is(err, unix.EXFULL) {
			return nil, fmt.Errorf("the bridge has %d ports, as many as the kernel gives one: %w", bridgePorts, fault.Exhausted)
		}
		return nil, fmt.Errorf("make link %s: %w", attrs.Name, kernelLacks(err, "veth links (CONFIG_VETH, module veth)"))
	}
	if err := b.openPort(veth, addr); err != nil {
		return nil, errors.Join(fmt.Errorf("link %s: %w", attrs.Name, err), b.host.LinkDel(veth))
	}
	return veth, nil
}

// openPort lets traffic flow between a port of the bridge and the pod behind it.
func (b *builder) openPort(port netlink.Link, addr netip.Addr) error {
	return inOrder(
		step{"turn off IPv6", func() error { return noLinkLocal(b.host, port) }},
		// A pod may be its own Service's endpoint: with br_netfilter its packet
		// comes back out of the port it came in by.
		step{"allow the pod to reach itself", func() error { return b.host.LinkSetHairpin(port, true) }},
		step{"set up", func() error { return b.host.LinkSetUp(port) }},
		// With these two nobody ever asks who has the address: a broadcast would
		// go to all ports, and a thousand pods starting would hear a thousand.
		step{"tell the bridge where the pod is", func() error {
			return b.host.NeighSet(&netlink.Neigh{LinkIndex: port.Attrs().Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_MASTER,
				State: netlink.NUD_NOARP, HardwareAddr: macOf(addr)})
		}},
		step{"tell the node where the pod is", func() error { return b.host.NeighSet(b.onBridge(addr)) }},
	)
}

func (b *builder) onBridge(addr netip.Addr) *netlink.Neigh {
	return neighbour(int(b.bridge.Load()), addr)
}

// insidePod configures the links of the calling thread's namespace.
func (b *builder) insidePod(addr netip.Addr) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in the pod: %w", err)
	}
	defer h.Close()
	eth0, err := h.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	lo := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: 1}} // always the first link
	index := eth0.Attrs().Index
	return inOrder(
		step{"set lo up", func() error { return h.LinkSetUp(lo) }},
		step{"give eth0 its address", func() error {
			return h.AddrAdd(eth0, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, 32))})
		}},
		step{"set eth0 up", func() error { return h.LinkSetUp(eth0) }},
		step{"introduce the gateway", func() error { return h.NeighSet(neighbour(index, b.gateway)) }},
		// A route to the gateway itself would not be needed with "onlink", but
		// tools that read routes look for it.
		step{"route to the gateway", func() error {
			return h.RouteAdd(&netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.PrefixFrom(b.gateway, 32))})
		}},
		step{"route through the gateway", func() error {
			return h.RouteAdd(&netlink.Route{LinkIndex: index, Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Gw: b.gateway.AsSlice()})
		}},
	)
}

// step is one change of the kernel's state and what errors call it.
type step struct {
	what string
	do   func() error
}

func inOrder(steps ...step) error {
	for _, s := range steps {
		if err := retry(s.do); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// neighbour says for good that an address is behind a link.
func neighbour(link int, addr netip.Addr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: link, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: macOf(addr)}
}
