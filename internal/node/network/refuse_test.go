package network

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestOpenRefuses(t *testing.T) {
	other := func(t *testing.T, name string) netlink.Link {
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer0"}
		must(t, netlink.LinkAdd(link))
		must(t, netlink.LinkSetUp(link))
		return link
	}
	route := func(kind int, to string) func(*testing.T) {
		return func(t *testing.T) {
			r := &netlink.Route{Type: kind, Dst: ipNet(netip.MustParsePrefix(to))}
			if kind == unix.RTN_UNICAST {
				r.LinkIndex, r.Scope = other(t, "vpn0").Attrs().Index, netlink.SCOPE_LINK
			}
			must(t, netlink.RouteAdd(r))
		}
	}
	for name, tt := range map[string]struct {
		machine func(*testing.T)
		config  func(*Config)
		want    string // empty: it opens
		kind    fault.Kind
	}{
		"a pod range inside a route": {route(unix.RTN_UNICAST, "10.0.0.0/8"), nil,
			"network: network.podCIDR 10.42.0.0/16: this machine already has the route to 10.0.0.0/8 through link vpn0 there: set network.podCIDR to a range that nobody uses: not possible now", fault.Precondition},
		"a pod range around an address": {func(t *testing.T) { other(t, "lan0"); addrUp(t, "lan0", "10.42.7.1/24") }, nil,
			"network: network.podCIDR 10.42.0.0/16: this machine already has the address 10.42.7.1/24 of link lan0 there: set network.podCIDR to a range that nobody uses: not possible now", fault.Precondition},
		"a service range inside a route": {route(unix.RTN_UNICAST, "10.43.0.0/24"), nil,
			"network: network.serviceCIDR 10.43.0.0/16: this machine already has the route to 10.43.0.0/24 through link vpn0 there: set network.serviceCIDR to a range that nobody uses: not possible now", fault.Precondition},
		"no range for a default route in two halves": {route(unix.RTN_UNICAST, "0.0.0.0/1"), nil, "", ""},
		"no range for a route that leads nowhere":    {route(unix.RTN_BLACKHOLE, "10.0.0.0/8"), nil, "", ""},
		"a bridge name that is another link's": {func(t *testing.T) { other(t, "sampan0") }, nil,
			"is not this node's: set another name or remove it with `ip link del sampan0`: already exists", fault.Exists},
		"a bridge of somebody else": {func(t *testing.T) {
			must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "sampan0"}}))
		}, nil, "network.bridge sampan0: the name is taken by a bridge link", fault.Exists},
		"a config without a bridge name": {nil, func(c *Config) { c.Bridge = "" }, "network: no bridge is set: invalid", fault.Invalid},
		"a bridge name that is too long": {nil, func(c *Config) { c.Bridge = "a-name-of-16-let" }, "not a link name", fault.Invalid},
		"an IPv6 pod range":              {nil, func(c *Config) { c.Prefix = netip.MustParsePrefix("fd00::/64") }, "network.podCIDR fd00::/64: must be an IPv4 range", fault.Invalid},
		"ranges that overlap each other": {nil, func(c *Config) { c.Services = netip.MustParsePrefix("10.42.128.0/20") }, "network.serviceCIDR 10.42.128.0/20: overlaps network.podCIDR 10.42.0.0/16", fault.Invalid},
		"a pool larger than a bridge":    {nil, func(c *Config) { c.Pool = 2000 }, "network.pool 2000", fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			newMachine(t)
			if tt.machine != nil {
				tt.machine(t)
			}
			cfg := testConfig(t)
			if tt.config != nil {
				tt.config(&cfg)
			}
			if tt.want == "" {
				open(t, cfg)
				return
			}
			before := footprint(t)
			_, err := Open(cfg, quiet())
			if err == nil || !strings.Contains(err.Error(), tt.want) || fault.Of(err) != tt.kind {
				t.Errorf("Open = %v\nwant %s", err, tt.want)
			}
			if after := footprint(t); after != before {
				t.Errorf("a refused Open left something.\nbefore:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

func TestOpenWithoutThePrivilegeSaysWhich(t *testing.T) {
	newMachine(t) // a thread that ends with the test, so it may lose a capability
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	must(t, unix.Capget(&header, &caps[0]))
	caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	must(t, unix.Capset(&header, &caps[0]))
	_, err := Open(testConfig(t), quiet())
	if err == nil || !strings.Contains(err.Error(), "needs CAP_NET_ADMIN: run as root") || fault.Of(err) != fault.Forbidden {
		t.Errorf("Open = %v, want an error that names CAP_NET_ADMIN", err)
	}
}

func TestAttachRefuses(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	cfg.Reserved = []uint16{6443}
	n := open(t, cfg)
	attach(t, n, "web", Port{Protocol: "tcp", HostPort: 80, PodPort: 80}, Port{Protocol: "tcp", HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 81, PodPort: 80})
	l, err := net.Listen("tcp", ":8080") // on IPv6 too, as most programs do
	must(t, err)
	defer l.Close()
	u, err := net.ListenPacket("udp4", "127.0.0.1:5353")
	must(t, err)
	defer u.Close()
	me, err := os.ReadFile("/proc/self/comm")
	must(t, err)
	for name, tt := range map[string]struct {
		port Port
		want string
		kind fault.Kind
	}{
		"a port of another pod":                     {Port{Protocol: "tcp", HostPort: 80, PodPort: 1}, "host tcp port 80: taken by pod default/web", fault.Exists},
		"a port of another pod at one address":      {Port{Protocol: "tcp", HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 80, PodPort: 1}, "host tcp port 127.0.0.1:80: taken by pod default/web", fault.Exists},
		"a port everywhere that is taken somewhere": {Port{Protocol: "tcp", HostIP: netip.IPv4Unspecified(), HostPort: 81, PodPort: 1}, "host tcp port 81: taken by pod default/web", fault.Exists},
		"a port where a process listens":            {Port{Protocol: "tcp", HostPort: 8080, PodPort: 1}, "host tcp port 8080: taken by process ", fault.Exists},
		"a port where a process takes datagrams":    {Port{Protocol: "udp", HostPort: 5353, PodPort: 1}, "(" + strings.TrimSpace(string(me)) + ")", fault.Exists},
		"a reserved port":                           {Port{Protocol: "tcp", HostPort: 6443, PodPort: 1}, "host tcp port 6443: reserved for the node itself", fault.Exists},
		"an unknown protocol":                       {Port{Protocol: "icmp", HostPort: 1, PodPort: 1}, `protocol "icmp"`, fault.Invalid},
		"no port":                                   {Port{Protocol: "tcp", HostPort: 1}, "neither may be 0", fault.Invalid},
		"an IPv6 address":                           {Port{Protocol: "tcp", HostIP: netip.MustParseAddr("fd00::1"), HostPort: 1, PodPort: 1}, "pods have IPv4 addresses only", fault.Unsupported},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := n.Attach(t.Context(), Pod{ID: "new", Namespace: "default", Name: "new", Ports: []Port{tt.port}})
			if err == nil || !strings.Contains(err.Error(), tt.want) || fault.Of(err) != tt.kind {
				t.Errorf("Attach = %v; want %s", err, tt.want)
			}
		})
	}
	for name, port := range map[string]Port{
		"the same number of another protocol": {Protocol: "udp", HostPort: 80, PodPort: 80},
		"the same port at another address":    {Protocol: "tcp", HostIP: netip.MustParseAddr("127.0.0.2"), HostPort: 81, PodPort: 80},
	} {
		t.Run("but not "+name, func(t *testing.T) { attach(t, n, "pod "+name, port) })
	}
	for _, id := range []string{"", "../a", ".a", strings.Repeat("a", 300)} {
		if _, err := n.Attach(t.Context(), Pod{ID: id}); !errors.Is(err, fault.Invalid) {
			t.Errorf("Attach(%q) = %v, want it refused", id, err)
		}
	}
	must(t, n.Detach(t.Context(), "web"))
	attach(t, n, "next", Port{Protocol: "tcp", HostPort: 80, PodPort: 80})
}

func TestAFirewallThatDropsIsReported(t *testing.T) {
	newMachine(t)
	drop := nftables.ChainPolicyDrop
	c, err := nftables.New()
	must(t, err)
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "site"})
	c.AddChain(&nftables.Chain{Table: table, Name: "forward", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop})
	must(t, c.Flush())
	var log bytes.Buffer
	n, err := Open(testConfig(t), slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	t.Cleanup(func() { must(t, n.Down(context.Background())) })
	if !strings.Contains(log.String(), "nft insert rule ip site forward iifname sampan0 accept") {
		t.Errorf("the log does not say what to do: %s", &log)
	}
}
