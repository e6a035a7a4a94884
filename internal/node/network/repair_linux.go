package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// repair puts back what something else has removed or changed. It costs a few
// system calls when nothing has.
func (n *Network) repair() error {
	return errors.Join(
		n.repairBridge(),
		n.tuneHost(),
		n.repairRules(),
	)
}

func (n *Network) repairRules() error {
	whole, err := n.rules.whole()
	if err != nil || whole {
		return err
	}
	n.log.Warn("something removed the node's nftables table; putting it back", "table", n.cfg.Table)
	return n.rules.rebuild()
}

// repairBridge makes the bridge again, and the pods' links its ports.
func (n *Network) repairBridge() error {
	if n.bridgeIsWhole() {
		return nil
	}
	n.log.Warn("something removed the node's bridge or its address; putting it back", "bridge", n.cfg.Bridge)
	index, err := ensureBridge(n.host, n.cfg, n.build.mtu)
	if err != nil {
		return err
	}
	n.build.bridge.Store(int64(index))
	links, err := linkList(n.host)
	if err != nil {
		return err
	}
	var errs []error
	for _, port := range links {
		addr, ok := portAddr(port.Attrs().Name)
		if !ok || !n.cfg.Prefix.Contains(addr) || port.Attrs().MasterIndex == index {
			continue
		}
		err := n.host.LinkSetMasterByIndex(port, index)
		if err == nil {
			err = n.build.openPort(port, addr)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("link %s: %w", port.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}

func (n *Network) bridgeIsWhole() bool {
	link, err := findBridge(n.host, n.cfg)
	if err != nil || link.Attrs().Index != int(n.build.bridge.Load()) {
		return false
	}
	addrs, err := n.host.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap() == n.cfg.gateway() {
			return true
		}
	}
	return false
}
