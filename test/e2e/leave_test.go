package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pids are the host's processes whose program has the name; "" is all of them.
func (h *host) pids(name string) []int {
	var pids []int
	for line := range strings.Lines(h.processes()) {
		f := strings.Fields(line)
		pid, err := strconv.Atoi(f[0])
		if err == nil && (name == "" || len(f) > 1 && filepath.Base(f[1]) == name) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill9 kills processes of the host's by their program's name.
func (h *host) kill9(t testing.TB, name string) {
	t.Helper()
	pids := h.pids(name)
	if len(pids) == 0 {
		t.Fatalf("no process %q to kill:\n%s", name, h.processes())
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			t.Fatalf("kill %d: %v", pid, err)
		}
	}
}

// busy starts something of every kind.
func (h *host) busy(t testing.TB) {
	t.Helper()
	h.must(t, "run", image, "--name", "web", "--port", "8080", "--replicas", "3", "serve", "8080")
	apply(t, h, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: everything}
spec:
  shareProcessNamespace: true
  containers:
  - name: main
    image: `+image+`
    ports: [{containerPort: 8080, hostPort: 7080}]
    volumeMounts: [{name: memory, mountPath: /memory}, {name: kept, mountPath: /kept}, {name: kept, mountPath: /sub, subPath: part}]
  volumes:
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: kept, persistentVolumeClaim: {claimName: kept}}
`)
	h.must(t, "kubectl", "wait", "--for=condition=Ready", "pod/everything", "--timeout=60s")
}

func apply(t testing.TB, h *host, manifest string) {
	t.Helper()
	cmd := h.command("kubectl", "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl apply: %v: %s", err, out)
	}
}

func TestDownLeavesNothingBehind(t *testing.T) {
	for name, breakIt := range map[string]func(t *testing.T, h *host){
		"after an ordinary life":                func(*testing.T, *host) {},
		"after the daemon was killed":           func(t *testing.T, h *host) { h.kill9(t, "sampand") },
		"after the keeper was killed":           func(t *testing.T, h *host) { h.kill9(t, "sampan-keeper") },
		"after everything was killed":           func(t *testing.T, h *host) { h.kill9(t, "") },
		"after everything was killed in a rush": killInARush,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, "")
			before := h.look(t)
			h.must(t, "up")
			h.load(t)
			h.busy(t)
			breakIt(t, h)
			if out := h.must(t, "down"); strings.TrimSpace(out) != "The cloud is down." {
				t.Errorf("down said more than that it is done: %q", out)
			}
			data := h.data()
			h.sameAs(t, plus(before, h.look(t), "file: "+data))
			if n := len(h.pids("")); n > 0 {
				t.Errorf("%d processes go on", n)
			}
			h.must(t, "down", "--purge")
			h.sameAs(t, before)
			if out := h.must(t, "down"); !strings.Contains(out, "there is no cloud on "+data) {
				t.Errorf("down without a cloud said %q", out)
			}
		})
	}
}

// plus is before with what is there now and begins so: what down may keep.
func plus(before, now machine, begin string) machine {
	m := machine{}
	for line := range before {
		m[line] = true
	}
	for line := range now {
		if strings.HasPrefix(line, begin) {
			m[line] = true
		}
	}
	return m
}

// killInARush kills every process while pods start and others end.
func killInARush(t *testing.T, h *host) {
	t.Helper()
	h.must(t, "kubectl", "create", "deployment", "burst", "--image="+image, "--replicas=40")
	h.must(t, "kubectl", "delete", "pod", "everything", "--wait=false")
	for range 3 {
		time.Sleep(150 * time.Millisecond)
		for _, pid := range h.pids("") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// A daemon that is started anew finds everything as it was.
func TestContainersOutliveTheDaemon(t *testing.T) {
	h := up(t, "")
	h.busy(t)
	before := running(t, h)
	service := strings.TrimSpace(h.must(t, "kubectl", "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}"))
	h.kill9(t, "sampand")
	if out, err := h.sampan("status"); err == nil || !strings.Contains(out, "not running") {
		t.Errorf("status without a daemon: %v: %s", err, out)
	}
	// What runs goes on: containers, their Service and its name.
	for range 10 {
		if _, err := h.get("http://"+service+"/", 0); err != nil {
			t.Fatalf("the Service while the daemon is away: %v", err)
		}
	}
	h.must(t, "up")
	h.must(t, "kubectl", "wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
	if after := running(t, h); after != before {
		t.Errorf("the containers after the daemon came back:\n%s\nwere before:\n%s", after, before)
	}
	h.must(t, "run", "--rm", image, "echo", "and new ones start")
}

// running tells each container with its process and how often it was restarted.
func running(t testing.TB, h *host) string {
	t.Helper()
	var b strings.Builder
	for _, pid := range h.pids("") {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if name, _, _ := strings.Cut(string(cmdline), "\x00"); err == nil && !strings.HasSuffix(name, "sampand") {
			fmt.Fprintln(&b, pid, strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return b.String() + h.must(t, "kubectl", "get", "pods", "-A", "--no-headers", "-o",
		"custom-columns=NAME:.metadata.name,IP:.status.podIP,ID:.status.containerStatuses[*].containerID,RESTARTS:.status.containerStatuses[*].restartCount")
}
