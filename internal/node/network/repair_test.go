package network

import (
	"testing"

	"github.com/vishvananda/netlink"
)

func TestAFlushedRulesetComesBack(t *testing.T) {
	newMachine(t)
	n := open(t, testConfig(t))
	a := attach(t, n, "a", Port{Protocol: "tcp", HostPort: 8080, PodPort: 80})
	serve(t, a.NetNS, ":80", "a")
	n.rules.conn.FlushRuleset()
	must(t, n.rules.conn.Flush())
	if err := refused("", "127.0.0.1:8080"); err != nil {
		t.Fatalf("without a rule: %v", err)
	}
	must(t, n.repair())
	if _, err := ask("", "127.0.0.1:8080"); err != nil {
		t.Errorf("the host port after the repair: %v", err)
	}
	n.rules.conn.FlushRuleset()
	must(t, n.rules.conn.Flush())
	attach(t, n, "b", Port{Protocol: "tcp", HostPort: 8081, PodPort: 80})
	if _, err := ask("", "127.0.0.1:8080"); err != nil {
		t.Errorf("a's host port, after b found the rules gone: %v", err)
	}
}

func TestARemovedBridgeComesBack(t *testing.T) {
	newMachine(t)
	n := open(t, testConfig(t))
	a, b := attach(t, n, "a"), attach(t, n, "b")
	serve(t, b.NetNS, ":80", "b")
	bridge, err := netlink.LinkByName(n.cfg.Bridge)
	must(t, err)
	must(t, netlink.LinkDel(bridge))
	must(t, setSysctl("net/ipv4/ip_forward", "0"))
	if err := refused(a.NetNS, b.Addr.Addr().String()+":80"); err != nil {
		t.Fatalf("without a bridge: %v", err)
	}
	must(t, n.repair())
	if _, err := ask(a.NetNS, b.Addr.Addr().String()+":80"); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	c := attach(t, n, "c")
	if _, err := ask(c.NetNS, b.Addr.Addr().String()+":80"); err != nil {
		t.Errorf("a pod attached after the repair: %v", err)
	}
}
