package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// nodeAddress is the address of the link that the default route leaves by, or
// of the first link that has one where there is no default route.
func nodeAddress() (netip.Addr, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	for errors.Is(err, netlink.ErrDumpInterrupted) { // they changed meanwhile
		routes, err = netlink.RouteList(nil, netlink.FAMILY_V4)
	}
	if err != nil {
		return netip.Addr{}, fmt.Errorf("routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		if a, ok := netip.AddrFromSlice(r.Src); ok && r.Src != nil {
			return a.Unmap(), nil
		}
		if link, err := net.InterfaceByIndex(r.LinkIndex); err == nil {
			if a, ok := linkAddress(link); ok {
				return a, nil
			}
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("links: %w", err)
	}
	for _, l := range links {
		if l.Flags&net.FlagUp == 0 || l.Flags&net.FlagLoopback != 0 {
			continue
		}
		if a, ok := linkAddress(&l); ok {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("this machine has no IPv4 address besides loopback: give it one, or set node.address: %w", fault.Precondition)
}

func linkAddress(l *net.Interface) (netip.Addr, bool) {
	addrs, err := l.Addrs()
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// nodeName is the machine's host name as Kubernetes writes names.
func nodeName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	if name == "" || name == "localhost" {
		return "", errors.New("the machine's host name is unset: set it, or set node.name")
	}
	return name, nil
}
