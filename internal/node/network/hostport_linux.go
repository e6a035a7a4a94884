package network

import (
	"fmt"
	"slices"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// claim makes a pod's host ports its own, unless another pod or a process of
// the host has one of them.
func (n *Network) claim(pod Pod) error {
	if len(pod.Ports) == 0 {
		return nil
	}
	ports, err := hostPorts(pod, n.cfg.Reserved)
	if err != nil {
		return err
	}
	if err := n.rules.claim(pod.ID, ports, n.nameOf); err != nil {
		return err
	}
	err = n.home.do(func() error {
		for p := range ports {
			if who, taken := listener(p); taken {
				return fmt.Errorf("host %s: taken by %s: %w", p, who, fault.Exists)
			}
		}
		return nil
	})
	if err != nil {
		n.rules.release(pod.ID)
	}
	return err
}

// openPorts lets the pod's claimed ports lead to it.
func (n *Network) openPorts(r record) error {
	ports, err := hostPorts(r.Pod, n.cfg.Reserved)
	if err != nil {
		return err
	}
	n.rules.point(ports, r.addr())
	if err := n.rules.apply(); err != nil {
		return err
	}
	// A peer that keeps sending would keep its old connection, and reach the pod
	// that had the port before.
	if slices.ContainsFunc(r.Ports, func(p Port) bool { return p.Protocol != "tcp" }) {
		forgetConnections(n.host, ports)
	}
	return nil
}

// nameOf is how errors call another pod.
func (n *Network) nameOf(id string) string {
	if r, ok := n.known(id); ok {
		return r.called()
	}
	return id
}
