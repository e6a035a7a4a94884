package network

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/test/need"
)

// newMachine moves the test into a network namespace of its own, which plays a
// machine: its real network is never touched. The thread ends with the test.
func newMachine(t testing.TB) {
	t.Helper()
	need.Root(t) // makes network namespaces
	if test, ok := t.(*testing.T); ok {
		test.Parallel() // each machine is alone
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	must(t, netlink.LinkSetUp(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: 1}}))
	// A new namespace has the real machine's IPv4 settings, whatever those are.
	must(t, setSysctl("net/ipv4/ip_forward", "0"))
	must(t, setSysctl("net/ipv4/conf/all/send_redirects", "1"))
}

// machinePath is the calling thread's namespace as other threads find it.
func machinePath() string {
	return fmt.Sprintf("/proc/%d/task/%d/ns/net", unix.Getpid(), unix.Gettid())
}

// testConfig is a node's configuration in directories of the test.
func testConfig(t testing.TB) Config {
	t.Helper()
	return configIn(t.TempDir())
}

func configIn(dir string) Config {
	return Config{
		Dir:      filepath.Join(dir, "network"),
		NSDir:    filepath.Join(dir, "netns"),
		Bridge:   "sampan0",
		Table:    "sampan",
		Prefix:   netip.MustParsePrefix("10.42.0.0/16"),
		Services: netip.MustParsePrefix("10.43.0.0/16"),
		Pool:     4,
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open opens a Network that is taken down with the test.
func open(t testing.TB, cfg Config) *Network {
	t.Helper()
	n, err := Open(cfg, quiet())
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := n.Down(context.Background()); err != nil {
			t.Errorf("Down: %v", err)
		}
	})
	return n
}

// start runs n until the test or stop ends it, whichever is first.
func start(t testing.TB, n *Network) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() { done <- n.Run(ctx, func() { close(ready) }) }()
	<-ready
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

func attach(t testing.TB, n *Network, id string, ports ...Port) Attachment {
	t.Helper()
	a, err := n.Attach(t.Context(), Pod{ID: id, Namespace: "default", Name: id, Ports: ports})
	if err != nil {
		t.Fatalf("Attach(%s): %v", id, err)
	}
	return a
}

// in runs f in the network namespace at path.
func in(path string, f func() error) error {
	return onOwnThread(func() error {
		ns, err := os.Open(path)
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// serve answers each TCP connection at addr in the namespace at path with who,
// and then with the peer's address.
func serve(t testing.TB, path, addr, who string) {
	t.Helper()
	var l net.Listener
	err := in(path, func() (err error) {
		l, err = net.Listen("tcp4", addr)
		return err
	})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			fmt.Fprintf(c, "%s sees %s", who, host)
			c.Close()
		}
	}()
}

// ask connects from the namespace at path (empty: the machine) and returns what
// it hears. A loaded machine may need a second packet, sent after a second.
func ask(path, addr string) (answer string, err error) {
	return askFor(5*time.Second, path, addr)
}

// refused tells what answers where nothing should.
func refused(path, addr string) error {
	if got, err := askFor(300*time.Millisecond, path, addr); err == nil {
		return fmt.Errorf("%s answers %q", addr, got)
	}
	return nil
}

func askFor(limit time.Duration, path, addr string) (answer string, err error) {
	talk := func() error {
		c, err := (&net.Dialer{Timeout: limit}).Dial("tcp4", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(limit))
		data, err := io.ReadAll(c)
		answer = string(data)
		return err
	}
	if path == "" {
		err = talk()
		return answer, err
	}
	err = in(path, talk)
	return answer, err
}

// newWorld makes a second namespace, joined to the machine by a link, and
// returns its path. The machine is 192.0.2.2 there, the world 192.0.2.1 with
// 198.51.100.1 behind it.
func newWorld(t testing.TB) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "world")
	must(t, onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return pin(path)
	}))
	t.Cleanup(func() { unpin(path) })
	ns, err := os.Open(path)
	must(t, err)
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "uplink0"
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerNamespace = "down0", netlink.NsFd(ns.Fd())
	must(t, netlink.LinkAdd(veth))
	addrUp(t, "uplink0", "192.0.2.2/24")
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: veth.Index, Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")), Gw: net.IPv4(192, 0, 2, 1)}))
	must(t, in(path, func() error {
		addrUp(t, "down0", "192.0.2.1/24")
		addrUp(t, "lo", "198.51.100.1/32")
		return nil
	}))
	return path
}

func addrUp(t testing.TB, link, addr string) {
	t.Helper()
	l, err := netlink.LinkByName(link)
	must(t, err)
	must(t, netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(addr))}))
	must(t, netlink.LinkSetUp(l))
}

// footprint is all of the machine that a node may leave something in.
func footprint(t testing.TB, dirs ...string) string {
	t.Helper()
	var all strings.Builder
	links, err := netlink.LinkList()
	must(t, err)
	for _, l := range links {
		fmt.Fprintln(&all, "link", l.Attrs().Name)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	must(t, err)
	for _, r := range routes {
		fmt.Fprintln(&all, "route", r.Dst)
	}
	neighbours, err := netlink.NeighList(0, netlink.FAMILY_V4)
	must(t, err)
	for _, n := range neighbours {
		fmt.Fprintln(&all, "neighbour", n.IP)
	}
	c, err := nftables.New()
	must(t, err)
	tables, err := c.ListTables()
	must(t, err)
	for _, table := range tables {
		fmt.Fprintln(&all, "table", table.Name)
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		for _, dir := range dirs {
			if strings.Contains(line, dir) {
				fmt.Fprint(&all, "mount ", line)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sysctls)) {
		value, err := os.ReadFile(sysctlPath(name))
		must(t, err)
		fmt.Fprint(&all, name, "=", string(value))
	}
	return all.String()
}

// eventually waits until check returns no error.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replaceLoopbackRoute sends 127.0.0.1 through the gateway.
func replaceLoopbackRoute(gateway netip.Addr) error {
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	lo := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: 1}}
	if err := netlink.AddrDel(lo, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("127.0.0.1/8"))}); err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("127.0.0.1/32")), Gw: gateway.AsSlice()})
}
