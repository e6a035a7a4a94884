package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestPodsReach(t *testing.T) {
	newMachine(t)
	world := newWorld(t)
	n := open(t, testConfig(t))
	start(t, n)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	serve(t, a.NetNS, ":80", "a")
	serve(t, b.NetNS, ":80", "b")
	serve(t, world, ":80", "world")
	serve(t, a.NetNS, "127.0.0.1:81", "loopback")
	at := func(a Attachment) string { return net.JoinHostPort(a.Addr.Addr().String(), "80") }
	for name, tt := range map[string]struct {
		from, to, want string
	}{
		"each other, with their own addresses": {a.NetNS, at(b), "b sees " + a.Addr.Addr().String()},
		"themselves":                           {a.NetNS, at(a), "a sees " + a.Addr.Addr().String()},
		"their loopback":                       {a.NetNS, "127.0.0.1:81", "loopback sees 127.0.0.1"},
		"the outside, masqueraded":             {a.NetNS, "198.51.100.1:80", "world sees 192.0.2.2"},
		"the node's neighbours, masqueraded":   {b.NetNS, "192.0.2.1:80", "world sees 192.0.2.2"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ask(tt.from, tt.to); err != nil || got != tt.want {
				t.Errorf("ask(%s) = %q, %v; want %q", tt.to, got, err, tt.want)
			}
		})
	}
	if got, err := ask("", at(a)); err != nil || got != "a sees "+n.cfg.gateway().String() {
		t.Errorf("the node asks pod a: %q, %v", got, err)
	}
}

// A pod's packets to a Service are translated on the node and the answers must
// come back through it, with br_netfilter and without.
func TestHostPorts(t *testing.T) {
	for _, bridgeNetfilter := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+bridgeNetfilter, func(t *testing.T) {
			newMachine(t)
			if err := setSysctl("net/bridge/bridge-nf-call-iptables", bridgeNetfilter); err != nil && bridgeNetfilter == "1" {
				t.Skip("needs br_netfilter: ", err)
			}
			world := newWorld(t)
			n := open(t, testConfig(t))
			start(t, n)
			a := attach(t, n, "a", Port{Protocol: "tcp", HostPort: 8080, PodPort: 80},
				Port{Protocol: "TCP", HostIP: netip.MustParseAddr("192.0.2.2"), HostPort: 8081, PodPort: 80})
			b := attach(t, n, "b")
			serve(t, a.NetNS, ":80", "a")
			gateway := n.cfg.gateway().String()
			for name, tt := range map[string]struct {
				from, to, want string
			}{
				"from outside, who keeps his address": {world, "192.0.2.2:8080", "a sees 192.0.2.1"},
				"from outside at one address":         {world, "192.0.2.2:8081", "a sees 192.0.2.1"},
				"from another pod":                    {b.NetNS, "192.0.2.2:8080", "a sees " + b.Addr.Addr().String()},
				"from the pod itself":                 {a.NetNS, "192.0.2.2:8080", "a sees " + gateway},
				"from the pod at its gateway":         {a.NetNS, gateway + ":8080", "a sees " + gateway},
			} {
				t.Run(name, func(t *testing.T) {
					if got, err := ask(tt.from, tt.to); err != nil || got != tt.want {
						t.Errorf("ask(%s) = %q, %v; want %q", tt.to, got, err, tt.want)
					}
				})
			}
			for to, want := range map[string]string{
				"192.0.2.2:8080": "a sees 192.0.2.2",
				"192.0.2.2:8081": "a sees 192.0.2.2",
				"127.0.0.1:8080": "a sees " + gateway,
			} {
				if got, err := ask("", to); err != nil || got != want {
					t.Errorf("the node asks %s: %q, %v; want %q", to, got, err, want)
				}
			}
			if err := refused("", "127.0.0.1:8081"); err != nil {
				t.Errorf("a port that is open at another address only: %v", err)
			}
			must(t, n.Detach(t.Context(), "a"))
			eventually(t, func() error { return refused(world, "192.0.2.2:8080") })
		})
	}
}

func TestPodsDoNotReachTheNodesLoopback(t *testing.T) {
	newMachine(t)
	n := open(t, testConfig(t))
	a := attach(t, n, "a")
	serve(t, machinePath(), "127.0.0.1:10250", "the node")
	// A pod with CAP_NET_ADMIN can send what its own kernel would not.
	must(t, in(a.NetNS, func() error {
		if err := setSysctl("net/ipv4/conf/eth0/route_localnet", "1"); err != nil {
			return err
		}
		return replaceLoopbackRoute(n.cfg.gateway())
	}))
	if err := refused(a.NetNS, "127.0.0.1:10250"); err != nil {
		t.Errorf("a pod reached the node's loopback: %v", err)
	}
	if got, err := ask("", "127.0.0.1:10250"); err != nil || !strings.HasPrefix(got, "the node") {
		t.Errorf("the node does not reach its own loopback any more: %q, %v", got, err)
	}
}

// The node forwards between pods of one bridge and must not tell them the
// shorter way: what is sent there is seen by no policy, and translated by none.
func TestPodsAreNotRedirected(t *testing.T) {
	newMachine(t)
	n := open(t, testConfig(t))
	a, b := attach(t, n, "a"), attach(t, n, "b")
	serve(t, b.NetNS, ":80", "b")
	for range 50 { // the kernel does not send one for each packet
		if _, err := ask(a.NetNS, b.Addr.Addr().String()+":80"); err != nil {
			t.Fatal(err)
		}
	}
	counters, err := os.ReadFile("/proc/thread-self/net/snmp")
	must(t, err)
	// The kernel lists messages sent by type once there are any; a redirect is 5.
	if strings.Contains(string(counters), "OutType5") {
		t.Errorf("the node sent redirects:\n%s", counters)
	}
}

// Neither side may have to ask for the other by broadcast: a thousand pods
// starting would each hear the questions of all others.
func TestNobodyAsksForAPod(t *testing.T) {
	newMachine(t)
	n := open(t, testConfig(t))
	start(t, n)
	a := attach(t, n, "a")
	known := func(addr netip.Addr) error {
		all, err := netlink.NeighList(0, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for _, e := range all {
			if e.IP.String() == addr.String() && e.State == netlink.NUD_PERMANENT {
				return nil
			}
		}
		return fmt.Errorf("%s is not known for good", addr)
	}
	if err := known(a.Addr.Addr()); err != nil {
		t.Errorf("on the node: %v", err)
	}
	if err := in(a.NetNS, func() error { return known(a.Gateway) }); err != nil {
		t.Errorf("in the pod: %v", err)
	}
	must(t, n.Detach(t.Context(), "a"))
	eventually(t, func() error {
		if known(a.Addr.Addr()) == nil {
			return errors.New("the node still knows a pod that is gone")
		}
		return nil
	})
}
