package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

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

func TestAPodThatLivesOnLosesItsLinkAndAddress(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	cfg.Pool = 0
	n := open(t, cfg)
	start(t, n)
	a := attach(t, n, "a")
	held, err := os.Open(a.NetNS) // as a process of the pod would
	must(t, err)
	defer held.Close()
	must(t, n.Detach(t.Context(), "a"))
	eventually(t, func() error {
		if _, err := netlink.LinkByName(linkOf(a.Addr.Addr())); err == nil {
			return errors.New("the link is still there")
		}
		if used := n.addrs.inUse(); used > 0 {
			return fmt.Errorf("%d addresses in use", used)
		}
		return nil
	})
}
