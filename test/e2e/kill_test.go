package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whatever of the cloud's own is killed comes back by itself; what runs in pods
// goes on, with the same processes.
func TestWhatIsKilledComesBack(t *testing.T) {
	h := up(t, "")
	h.busy(t)
	dns := strings.TrimSpace(h.must(t, "kubectl", "get", "service", "-n", "kube-system", "kube-dns", "-o", "jsonpath={.spec.clusterIP}"))
	answers := func(when string) {
		t.Helper()
		if err := h.lookup(dns, "web.default.svc.cluster.local", patience); err != nil {
			t.Errorf("the cluster's DNS %s: %v", when, err)
		}
	}
	answers("at first")
	served := h.serving(t)

	// Only itself: the first process of a pod whose containers share theirs is
	// the same program.
	keepers := h.keepers()
	if len(keepers) != 1 {
		t.Fatalf("%d keepers, want one:\n%s", len(keepers), h.processes())
	}
	keeper := keepers[0]
	if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	answers("after the keeper was killed")
	eventually(t, "a new keeper", func() bool { now := h.keepers(); return len(now) == 1 && now[0] != keeper })
	if out := h.must(t, "exec", "web", "/bin/toolbox", "echo", "exec"); out != "exec\n" {
		t.Errorf("exec after the keeper was killed: %q", out)
	}
	if now := h.serving(t); now != served {
		t.Errorf("containers after the keeper was killed:\n%swere before:\n%s", now, served)
	}

	edge := h.running("/sampan-edge")
	if len(edge) == 0 {
		t.Fatalf("no edge runs:\n%s", h.processes())
	}
	for _, pid := range edge {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with the one before
	}
	eventually(t, "a new edge", func() bool { return len(h.running("/sampan-edge")) > 0 })
	answers("after the edge was killed")
	if now := h.serving(t); now != served {
		t.Errorf("containers after the edge was killed:\n%swere before:\n%s", now, served)
	}

	// Without the daemon names are still answered; nothing waits for it.
	h.kill9(t, "sampand")
	for range 5 {
		if err := h.lookup(dns, "web.default.svc.cluster.local", 0); err != nil {
			t.Errorf("the cluster's DNS while the daemon is away: %v", err)
		}
	}
	h.must(t, "up")
}

// running are the host's processes whose command line begins so.
func (h *host) running(command string) []int {
	var pids []int
	for _, pid := range h.pids("") {
		if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasPrefix(string(cmdline), command+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// keepers are the processes that look after the host's containers.
func (h *host) keepers() []int {
	var pids []int
	for _, pid := range h.pids("sampan-keeper") {
		if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(cmdline), "\x00--dir\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// serving tells the processes of the containers with the toolbox.
func (h *host) serving(t testing.TB) string {
	t.Helper()
	pids := h.running("/bin/toolbox")
	if len(pids) == 0 {
		t.Fatalf("no container runs:\n%s", h.processes())
	}
	return fmt.Sprintln(pids)
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}
