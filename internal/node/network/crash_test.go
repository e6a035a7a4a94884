package network

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// envHammer is the directory in which a copy of the test program attaches and
// detaches pods until it is killed.
const envHammer = "SAMPAN_TEST_HAMMER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envHammer); dir != "" {
		fmt.Fprintln(os.Stderr, hammer(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func hammer(dir string) error {
	n, err := Open(configIn(dir), quiet())
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	for worker := range 4 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", worker, i%5)
				port := Port{Protocol: "tcp", HostPort: uint16(20000 + worker*5 + i%5), PodPort: 80}
				_, err := n.Attach(context.Background(), Pod{ID: id, Ports: []Port{port}})
				if err == nil && i%3 > 0 {
					err = n.Detach(context.Background(), id)
				}
				if err != nil {
					failed <- err
				}
			}
		}()
	}
	go func() { failed <- n.Run(context.Background(), func() {}) }()
	return <-failed
}

func TestKilledAtRandomMomentsUnderLoad(t *testing.T) {
	newMachine(t)
	dir := t.TempDir()
	cfg := configIn(dir)
	t.Cleanup(func() { must(t, Remove(context.Background(), cfg, quiet())) })
	for round := range 6 {
		// The child gets the network namespace of this thread.
		child := exec.Command("/proc/self/exe")
		child.Env, child.Stderr = append(os.Environ(), envHammer+"="+dir), os.Stderr
		must(t, child.Start())
		time.Sleep(100*time.Millisecond + rand.N(250*time.Millisecond))
		must(t, child.Process.Kill())
		if err := child.Wait(); child.ProcessState.ExitCode() != -1 {
			t.Fatalf("the child ended by itself: %v", err)
		}
		n, err := Open(cfg, quiet())
		if err != nil {
			t.Fatalf("Open after the crash of round %d: %v", round, err)
		}
		pods := n.Pods()
		t.Logf("round %d: %d pods", round, len(pods))
		seen := map[netip.Addr]bool{}
		for id, a := range pods {
			if !pinned(a.NetNS) || seen[a.Addr.Addr()] {
				t.Errorf("round %d: pod %s has %+v: no namespace, or another pod's address", round, id, a)
			}
			seen[a.Addr.Addr()] = true
			if _, err := netlink.LinkByName(linkOf(a.Addr.Addr())); err != nil {
				t.Errorf("round %d: pod %s: %v", round, id, err)
			}
		}
		eventually(t, func() error {
			n.reap(n.reap(nil))
			paths, err := pins(cfg.NSDir)
			must(t, err)
			open, err := ports(n.host, int(n.build.bridge.Load()))
			must(t, err)
			if len(paths) != len(pods) || len(open) != len(pods) {
				return fmt.Errorf("round %d: %d namespaces and %d ports for %d pods", round, len(paths), len(open), len(pods))
			}
			return nil
		})
		n.Close()
	}
}

// What is between two steps of making or removing a pod is removed.
func TestHalfMadeThingsGo(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	n, err := Open(cfg, quiet())
	must(t, err)
	must(t, os.WriteFile(filepath.Join(cfg.NSDir, "10.42.0.50-a"), nil, 0o444)) // nothing mounted yet
	must(t, onOwnThread(func() error {                                          // no link yet
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return pin(filepath.Join(cfg.NSDir, "10.42.0.51-b"))
	}))
	orphan, err := n.fresh("") // in nobody's hands
	must(t, err)
	must(t, n.host.NeighSet(n.build.onBridge(netip.MustParseAddr("10.42.0.50"))))
	n.Close()

	n = open(t, cfg)
	if addr, err := n.addrs.take(); err != nil || addr == orphan.addr {
		t.Errorf("take = %s, %v: in use until its link is gone", addr, err)
	} else {
		n.addrs.free(addr)
	}
	start(t, n)
	eventually(t, func() error {
		for _, name := range []string{"10.42.0.50-a", "10.42.0.51-b", filepath.Base(orphan.path)} {
			if _, err := os.Lstat(filepath.Join(cfg.NSDir, name)); err == nil {
				return fmt.Errorf("%s is still there", name)
			}
		}
		if _, err := netlink.LinkByName(linkOf(orphan.addr)); err == nil {
			return fmt.Errorf("the link of %s is still there", orphan.addr)
		}
		return nil
	})
}

func TestOneAtATimeForEachKey(t *testing.T) {
	var k keyed
	var all sync.WaitGroup
	counts := map[string]*int{"a": new(int), "b": new(int)}
	for i := range 1000 {
		key := []string{"a", "b"}[i%2]
		all.Go(func() {
			defer k.lock(key)()
			*counts[key]++ // the race detector watches this
		})
	}
	all.Wait()
	if *counts["a"] != 500 || *counts["b"] != 500 || len(k.locks) != 0 {
		t.Errorf("counted %d and %d with %d locks left; want 500 and 500 and none", *counts["a"], *counts["b"], len(k.locks))
	}
}
