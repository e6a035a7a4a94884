// Package network gives pods addresses, routes, service balancing and policy.
package network

import "net/netip"

// Pod is what a pod asks of the network.
type Pod struct {
	ID        string // the sandbox, unique on this node
	Namespace string
	Name      string
	Ports     []Port // host ports
	Ingress   int64  // bandwidth limits in bits per second; zero is none
	Egress    int64
}

// Port is a port of the host that leads to a port of a pod.
type Port struct {
	Protocol string // tcp, udp or sctp
	HostIP   netip.Addr
	HostPort uint16
	PodPort  uint16
}

// Attachment is a pod's place in the network.
type Attachment struct {
	NetNS   string       `json:"netns"` // path of its network namespace
	Addr    netip.Prefix `json:"addr"`
	Gateway netip.Addr   `json:"gateway"`
	MAC     string       `json:"mac"`
}
