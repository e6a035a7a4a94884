package network

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A pod that asks for what cannot be done leaves nothing and may ask again.
func TestAFailedAttachLeavesNothing(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	cfg.Pool = 0
	n := open(t, cfg)
	start(t, n)
	pod := Pod{ID: "a", Ingress: 1, Ports: []Port{{Protocol: "tcp", HostPort: 80, PodPort: 80}}} // less than a byte a second
	if _, err := n.Attach(t.Context(), pod); err == nil {
		t.Fatal("a limit of one bit a second was accepted")
	}
	if pods := n.Pods(); len(pods) != 0 {
		t.Errorf("Pods = %v, want none", pods)
	}
	if records, err := os.ReadDir(cfg.podsDir()); err != nil || len(records) != 0 {
		t.Errorf("written down: %v, %v; want nothing", records, err)
	}
	eventually(t, func() error {
		if n.addrs.inUse() > 0 {
			return errors.New("the address is still in use")
		}
		return nil
	})
	attach(t, n, "b", pod.Ports...)
}

func TestABurstIsWrittenDownWithoutComplaint(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	cfg.Pool = 8
	var log lines
	n, err := Open(cfg, slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	t.Cleanup(func() { must(t, Remove(context.Background(), cfg, quiet())) })
	start(t, n)
	var pods sync.WaitGroup
	for i := range 50 {
		pods.Go(func() {
			if _, err := n.Attach(t.Context(), Pod{ID: string(rune('A' + i))}); err != nil {
				t.Error(err)
			}
		})
	}
	pods.Wait()
	if text := log.String(); text != "" {
		t.Errorf("the log says %s", text)
	}
}

// lines is a log that may be written and read at the same time.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A namespace of a user namespace's cannot come from the pool; it is connected
// like the others, and let go with the pod.
func TestANamespaceMadeForThePod(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	n := open(t, cfg)
	start(t, n)
	made := filepath.Join(t.TempDir(), "made")
	must(t, onOwnThread(func() error {
		if err := enterNetNS(""); err != nil {
			return err
		}
		return pin(made)
	}))
	t.Cleanup(func() { must(t, unpin(made)) })
	a, err := n.Attach(t.Context(), Pod{ID: "a", NSPath: made})
	must(t, err)
	var want, got unix.Stat_t
	must(t, unix.Stat(made, &want))
	must(t, unix.Stat(a.NetNS, &got))
	if got.Ino != want.Ino {
		t.Errorf("the pod is in namespace %d, want the one given, %d", got.Ino, want.Ino)
	}
	b := attach(t, n, "b")
	serve(t, a.NetNS, ":80", "a")
	if _, err := ask(b.NetNS, a.Addr.Addr().String()+":80"); err != nil {
		t.Error(err)
	}
	must(t, n.Detach(t.Context(), "a"))
	eventually(t, func() error {
		if pinned(a.NetNS) {
			return errors.New("the namespace is still pinned")
		}
		return nil
	})
}

func TestAPodsOwnSysctls(t *testing.T) {
	newMachine(t)
	n := open(t, testConfig(t))
	start(t, n)
	a, err := n.Attach(t.Context(), Pod{ID: "a", Sysctls: map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "1024", "net/ipv4/conf/eth0/log_martians": "1",
	}})
	must(t, err)
	for name, want := range map[string]string{"net/ipv4/ip_unprivileged_port_start": "1024", "net/ipv4/conf/eth0/log_martians": "1"} {
		must(t, in(a.NetNS, func() error {
			got, err := readSysctl(name)
			if got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
			return err
		}))
	}
	for _, key := range []string{"net.ipv4.no_such", "kernel.panic", "net.ipv4/../../kernel/panic", "net/../kernel/panic"} {
		_, err := n.Attach(t.Context(), Pod{ID: "b", Sysctls: map[string]string{key: "1"}})
		if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), key) {
			t.Errorf("Attach with sysctl %s: %v; want it refused by name", key, err)
		}
	}
	if _, err := n.Attach(t.Context(), Pod{ID: "c", Sysctls: map[string]string{"net.ipv4.ip_forward": "maybe"}}); fault.Of(err) != fault.Invalid {
		t.Errorf("Attach with a senseless value: %v; want it refused", err)
	}
}
