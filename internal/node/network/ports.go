package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// hostPort is a port of the host as the tables know it. An addr that is not
// valid stands for all of the host's addresses.
type hostPort struct {
	protocol uint8
	addr     netip.Addr
	port     uint16
}

// target is where a host port leads.
type target struct {
	addr netip.Addr
	port uint16
}

// protocols are those that Kubernetes knows, by their IP protocol numbers.
var protocols = map[string]uint8{"tcp": 6, "udp": 17, "sctp": 132}

func (h hostPort) String() string {
	name := "protocol " + fmt.Sprint(h.protocol)
	for n, number := range protocols {
		if number == h.protocol {
			name = n
		}
	}
	if !h.addr.IsValid() {
		return fmt.Sprintf("%s port %d", name, h.port)
	}
	return fmt.Sprintf("%s port %s", name, netip.AddrPortFrom(h.addr, h.port))
}

// conflicts tells whether two pods cannot have a and b.
func (h hostPort) conflicts(other hostPort) bool {
	return h.protocol == other.protocol && h.port == other.port &&
		(h.addr == other.addr || !h.addr.IsValid() || !other.addr.IsValid())
}

// hostPorts checks a pod's ports and returns them as the tables know them.
func hostPorts(pod Pod, reserved []uint16) (map[hostPort]uint16, error) {
	found := make(map[hostPort]uint16, len(pod.Ports))
	for _, p := range pod.Ports {
		h := hostPort{port: p.HostPort}
		var ok bool
		if h.protocol, ok = protocols[strings.ToLower(p.Protocol)]; !ok {
			return nil, fmt.Errorf("host port %d: protocol %q: must be tcp, udp or sctp: %w", p.HostPort, p.Protocol, fault.Invalid)
		}
		if p.HostPort == 0 || p.PodPort == 0 {
			return nil, fmt.Errorf("host port %d to port %d: neither may be 0: %w", p.HostPort, p.PodPort, fault.Invalid)
		}
		if ip := p.HostIP.Unmap(); ip.IsValid() && !ip.IsUnspecified() {
			if !ip.Is4() {
				return nil, fmt.Errorf("host port %d: address %s: pods have IPv4 addresses only: %w", p.HostPort, ip, fault.Unsupported)
			}
			h.addr = ip
		}
		if slices.Contains(reserved, h.port) {
			return nil, fmt.Errorf("host %s: reserved for the node itself: %w", h, fault.Exists)
		}
		for other := range found {
			if h.conflicts(other) {
				return nil, fmt.Errorf("host %s: the pod asks for it twice: %w", h, fault.Invalid)
			}
		}
		found[h] = p.PodPort
	}
	return found, nil
}
