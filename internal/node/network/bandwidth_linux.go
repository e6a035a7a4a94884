package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// limit bounds what the pod may receive and send. The kernel can only shape
// what leaves a link: what the pod receives leaves the bridge's port, and what
// it sends is turned round through an ifb link of its own. Shaping eth0 inside
// the pod would be simpler, and a pod with CAP_NET_ADMIN could undo it.
func (n *Network) limit(r record) error {
	if r.Ingress <= 0 && r.Egress <= 0 {
		return nil
	}
	err := n.shapePod(r)
	if err != nil {
		return fmt.Errorf("limit bandwidth: %w", kernelLacks(err, "traffic shaping (CONFIG_NET_SCH_TBF, CONFIG_IFB, CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED)"))
	}
	return nil
}

func (n *Network) shapePod(r record) error {
	port, err := n.host.LinkByName(r.link())
	if err != nil {
		return fmt.Errorf("find link %s: %w", r.link(), err)
	}
	if r.Ingress > 0 {
		if err := n.shape(port, r.Ingress); err != nil {
			return fmt.Errorf("ingress: %w", err)
		}
	}
	if r.Egress <= 0 {
		return nil
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags = ifbOf(r.addr()), n.build.mtu, 0
	ifb := &netlink.Ifb{LinkAttrs: attrs}
	if err := n.host.LinkAdd(ifb); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("egress: make link %s: %w", attrs.Name, err)
	}
	if err := errors.Join(noLinkLocal(n.host, ifb), n.host.LinkSetUp(ifb), n.shape(ifb, r.Egress), n.turn(port, ifb)); err != nil {
		return fmt.Errorf("egress: %w", errors.Join(err, n.host.LinkDel(ifb)))
	}
	return nil
}

// shape lets a link send at most so many bits a second.
func (n *Network) shape(link netlink.Link, bits int64) error {
	rate := uint64(bits) / 8
	if rate == 0 {
		return fmt.Errorf("%d bits a second: less than a byte: %w", bits, fault.Invalid)
	}
	// Ten milliseconds at full rate, and never less than the largest packet that
	// the kernel hands down in one piece.
	const largest = 64 << 10
	burst := max(rate/100, largest)
	const latency = 25e-3 // seconds that a packet may wait
	seconds := float64(burst) / float64(rate)
	return n.host.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate,
		Limit:      uint32(min(float64(rate)*latency+float64(burst), 1<<31)),
		Buffer:     uint32(min(seconds*float64(netlink.TIME_UNITS_PER_SEC)*netlink.TickInUsec(), 1<<31)),
	})
}

// turn sends all that comes in at port through ifb first.
func (n *Network) turn(port, ifb netlink.Link) error {
	index := port.Attrs().Index
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
	if err := n.host.QdiscReplace(ingress); err != nil {
		return fmt.Errorf("ingress queue: %w", err)
	}
	err := n.host.FilterReplace(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: ingress.Handle, Priority: 1, Protocol: unix.ETH_P_ALL},
		RedirIndex:  ifb.Attrs().Index,
		Actions:     []netlink.Action{netlink.NewMirredAction(ifb.Attrs().Index)},
	})
	if err != nil {
		return fmt.Errorf("redirect: %w", err)
	}
	return nil
}

// shapers lists the ifb links of this node's pods.
func shapers(h *netlink.Handle, prefix netip.Prefix) (map[netip.Addr]netlink.Link, error) {
	links, err := linkList(h)
	if err != nil {
		return nil, err
	}
	found := map[netip.Addr]netlink.Link{}
	for _, l := range links {
		addr, ok := namedAddr(shaperPrefix, l.Attrs().Name)
		if ok && l.Type() == "ifb" && prefix.Contains(addr) {
			found[addr] = l
		}
	}
	return found, nil
}
