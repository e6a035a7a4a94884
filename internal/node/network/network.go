// Package network gives pods addresses, routes and host ports.
//
// Each pod has a network namespace of its own with one link, eth0, whose other
// end is a port of the node's bridge. A pod knows only one neighbour, the
// gateway, which is the bridge itself: its address is a /32 and all it sends is
// routed by the node. So a Service answers whether or not br_netfilter is
// loaded, policy sees traffic between two pods of one node, and an address may
// move to another node without anyone having to forget where it was.
//
// Making a namespace takes milliseconds, so a pool of complete ones waits; to
// attach is to write down whose it is. What is written down, the namespaces
// pinned in NSDir and the links that exist are all the state there is: any
// process may die between two steps, and Open puts the three together again.
//
// An address belongs to a pod, not to a link. It is free again only after the
// link and the namespace that used it are gone, and then waits its turn: the
// range is walked round, so a stale connection does not meet a new pod.
//
// Locks: a pod's own key, then Network.mu; Network.cursor before ipam.mu;
// rules.commit before rules.mu.
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
	Sysctls   map[string]string // net.* settings of its namespace

	// NSPath, when set, leads to a network namespace made for the pod: one that
	// belongs to a user namespace cannot come from the pool.
	NSPath string
}

// called is the pod as errors and logs name it.
func (p Pod) called() string {
	if p.Name == "" {
		return p.ID
	}
	return p.Namespace + "/" + p.Name
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
