package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestTwoHundredPodsAtOnceGetDifferentAddresses(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	cfg.Pool = 32
	n := open(t, cfg)
	start(t, n)
	var mu sync.Mutex
	seen := map[netip.Addr]string{}
	var pods sync.WaitGroup
	for i := range 200 {
		pods.Go(func() {
			id := fmt.Sprint("pod", i)
			a, err := n.Attach(context.Background(), Pod{ID: id})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("Attach(%s): %v", id, err)
			}
			if other, taken := seen[a.Addr.Addr()]; taken {
				t.Errorf("%s and %s both have %s", id, other, a.Addr)
			}
			seen[a.Addr.Addr()] = id
		})
	}
	pods.Wait()
	if len(seen) != 200 {
		t.Errorf("%d addresses for 200 pods", len(seen))
	}
}

func TestAttachRepeatedReturnsTheSame(t *testing.T) {
	newMachine(t)
	n := open(t, testConfig(t))
	first := attach(t, n, "a", Port{Protocol: "tcp", HostPort: 80, PodPort: 80})
	if again := attach(t, n, "a", Port{Protocol: "tcp", HostPort: 80, PodPort: 80}); again != first {
		t.Errorf("Attach again = %+v, want %+v", again, first)
	}
	must(t, n.Detach(t.Context(), "a"))
	must(t, n.Detach(t.Context(), "a"))
	if next := attach(t, n, "a"); next.Addr == first.Addr || next.NetNS == first.NetNS {
		t.Errorf("after Detach the pod has %+v again", next)
	}
}

// A process that was killed has not closed, stopped or told anything.
func TestAKilledProcessLosesAndLeaksNothing(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	killed, err := Open(cfg, quiet())
	must(t, err)
	stop := start(t, killed)
	want := map[string]Attachment{}
	for _, id := range []string{"a", "b", "c"} {
		want[id] = attach(t, killed, id)
	}
	want["web"] = attach(t, killed, "web", Port{Protocol: "tcp", HostPort: 8080, PodPort: 80})
	stop()
	gone := attach(t, killed, "detached just before")
	must(t, killed.Detach(t.Context(), "detached just before"))
	must(t, os.WriteFile(filepath.Join(cfg.podsDir(), ".half.json"), []byte(`{"ID":"ha`), 0o600))

	n := open(t, cfg)
	start(t, n)
	if got := n.Pods(); !maps.Equal(got, want) {
		t.Fatalf("Pods after a crash = %v, want %v", got, want)
	}
	serve(t, want["web"].NetNS, ":80", "web")
	if got, err := ask("", "127.0.0.1:8080"); err != nil {
		t.Errorf("the host port after a crash: %q, %v", got, err)
	}
	if fresh := attach(t, n, "new"); fresh.Addr == gone.Addr {
		t.Errorf("a new pod got %s, freed a moment ago", fresh.Addr)
	}
	must(t, n.Sweep(t.Context(), []string{"a", "web", "new"}))
	must(t, n.Detach(t.Context(), "new"))
	eventually(t, func() error {
		ports, err := ports(n.host, int(n.build.bridge.Load()))
		must(t, err)
		paths, err := pins(cfg.NSDir)
		must(t, err)
		// The two pods, the pool, and what a filler holds until there is room.
		most := 2 + cfg.Pool + parallel/2
		if len(ports) > most || len(paths) > most || n.addrs.inUse() > most {
			return fmt.Errorf("%d ports, %d namespaces, %d addresses; want at most %d", len(ports), len(paths), n.addrs.inUse(), most)
		}
		return nil
	})
	if pinned(gone.NetNS) {
		t.Errorf("%s is still pinned", gone.NetNS)
	}
}

func TestAPodWhoseNamespaceIsGoneGetsItsAddressBack(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	n := open(t, cfg)
	old := attach(t, n, "a")
	must(t, unpin(old.NetNS)) // as after a reboot
	again := attach(t, n, "a")
	if again.Addr != old.Addr || !pinned(again.NetNS) {
		t.Errorf("Attach = %+v, want the address %s and a namespace", again, old.Addr)
	}
	serve(t, again.NetNS, ":80", "a")
	if _, err := ask("", again.Addr.Addr().String()+":80"); err != nil {
		t.Error(err)
	}
}

func TestAUsedNamespaceGoesAndItsAddressComesBackLast(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	cfg.Prefix, cfg.Pool = netip.MustParsePrefix("10.42.0.0/29"), 0 // five pods
	n := open(t, cfg)
	start(t, n)
	first := attach(t, n, "0")
	must(t, n.Detach(t.Context(), "0"))
	for i := 1; i <= 4; i++ {
		if a := attach(t, n, fmt.Sprint(i)); a.Addr == first.Addr {
			t.Errorf("pod %d got %s, freed last, while others were free", i, a.Addr)
		}
	}
	var last Attachment
	eventually(t, func() (err error) {
		last, err = n.Attach(t.Context(), Pod{ID: "5"})
		return err
	})
	if last.Addr != first.Addr {
		t.Errorf("the last free address is %s, want %s", last.Addr, first.Addr)
	}
	_, err := n.Attach(t.Context(), Pod{ID: "6", Namespace: "shop", Name: "web"})
	if want := "attach pod shop/web: pod range 10.42.0.0/29: all 5 addresses are in use: out of resources"; err == nil || err.Error() != want {
		t.Errorf("Attach = %v, want %s", err, want)
	}
}

func TestDownLeavesNothing(t *testing.T) {
	for name, kill := range map[string]bool{"when asked": false, "when everything was killed": true} {
		t.Run(name, func(t *testing.T) {
			newMachine(t)
			cfg := testConfig(t)
			before := footprint(t, cfg.NSDir)
			n, err := Open(cfg, quiet())
			must(t, err)
			stop := start(t, n)
			for i := range 5 {
				_, err := n.Attach(t.Context(), Pod{ID: fmt.Sprint(i), Ingress: 1e6, Egress: 1e6,
					Ports: []Port{{Protocol: "udp", HostPort: uint16(8000 + i), PodPort: 80}}})
				must(t, err)
			}
			must(t, n.Detach(t.Context(), "0"))
			if footprint(t, cfg.NSDir) == before {
				t.Fatal("the footprint does not show a node that is up")
			}
			stop()
			if kill {
				must(t, Remove(t.Context(), cfg, quiet()))
			} else {
				must(t, n.Down(t.Context()))
			}
			if after := footprint(t, cfg.NSDir); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			must(t, Remove(t.Context(), cfg, quiet()))
		})
	}
}

// Docker and its like turn forwarding on when they start, unless it is.
func TestDownLeavesForwardingToThoseWhoCameLater(t *testing.T) {
	bridge := func(t *testing.T, name string) {
		must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	}
	for name, tt := range map[string]struct {
		before, after string
		want          string
	}{
		"nobody came":                {"", "", "0"},
		"somebody was there already": {"virbr0", "", "0"},
		"somebody came later":        {"virbr0", "docker0", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			newMachine(t)
			if tt.before != "" {
				bridge(t, tt.before)
			}
			n, err := Open(testConfig(t), quiet())
			must(t, err)
			if tt.after != "" {
				bridge(t, tt.after)
			}
			must(t, n.Down(t.Context()))
			if got, err := readSysctl("net/ipv4/ip_forward"); err != nil || got != tt.want {
				t.Errorf("net.ipv4.ip_forward = %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

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

func TestAnotherRangeNeedsTheNodeDown(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	n := open(t, cfg)
	attach(t, n, "a")
	cfg.Prefix = netip.MustParsePrefix("10.50.0.0/16")
	_, err := Open(cfg, quiet())
	if err == nil || !errors.Is(err, fault.Precondition) {
		t.Fatalf("Open with another range = %v, want it refused", err)
	}
	if got := n.Pods(); len(got) != 1 {
		t.Errorf("Pods = %v", got)
	}
}

func TestBandwidthIsLimited(t *testing.T) {
	newMachine(t)
	n := open(t, testConfig(t))
	const limit = 8e6 // a megabyte a second
	a, err := n.Attach(t.Context(), Pod{ID: "a", Ingress: limit, Egress: limit})
	must(t, err)
	b := attach(t, n, "b")
	for name, tt := range map[string]struct {
		from, to Attachment
		limited  bool
	}{
		"what the pod sends":    {a, b, true},
		"what the pod receives": {b, a, true},
	} {
		t.Run(name, func(t *testing.T) {
			const size = 512 << 10 // less would fit into the bucket
			var l net.Listener
			must(t, in(tt.to.NetNS, func() (err error) { l, err = net.Listen("tcp4", ":9"); return err }))
			defer l.Close()
			began := time.Now()
			go in(tt.from.NetNS, func() error {
				c, err := net.Dial("tcp4", tt.to.Addr.Addr().String()+":9")
				if err == nil {
					c.Write(make([]byte, size))
					c.Close()
				}
				return err
			})
			c, err := l.Accept()
			must(t, err)
			got, err := io.Copy(io.Discard, c)
			must(t, err)
			if took := time.Since(began); got != size || took < 250*time.Millisecond || took > 3*time.Second {
				t.Errorf("%d bytes took %s at %g bits a second", got, took, float64(limit))
			}
		})
	}
}
