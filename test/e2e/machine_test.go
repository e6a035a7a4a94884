package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// machine is what a cloud may leave on a machine, as a set of lines: mounts,
// links, namespaces, tables, control groups, processes, files.
type machine map[string]bool

// look lists what there is of the host and of the real machine around it. The
// rest of the real machine is left out where others change it meanwhile.
func (h *host) look(t testing.TB) machine {
	t.Helper()
	m := machine{}
	note := func(kind, text string) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				m[kind+": "+line] = true
			}
		}
	}
	inside := func(args ...string) string {
		cmd := exec.Command("ip", append([]string{"netns", "exec", h.name}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	note("link", linkNames(inside("ip", "-o", "link")))
	note("route", inside("ip", "route"))
	note("rule", inside("ip", "rule"))
	note("table", inside("nft", "list", "tables"))
	note("sysctl", inside("sysctl", "-e", "net.ipv4.ip_forward", "net.ipv4.conf.all.route_localnet", "net.ipv4.conf.eth0.forwarding"))
	note("process", h.processes())
	note("mount", h.mounts(t))
	for _, dir := range h.places() {
		note("file", h.below(dir))
	}
	return m
}

// places are where a cloud puts files outside its data directory.
func (h *host) places() []string {
	return []string{"/run", "/etc/docker", "/etc/containers", "/etc/systemd/system", "/etc/cni", "/var/run/netns",
		"/var/log/pods", "/var/log/containers", "/var/lib/kubelet", "/sys/fs/cgroup", h.data()}
}

// below lists what there is of the cloud in a directory: what is called after it
// or leads to its data.
func (h *host) below(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // others come and go
		}
		target, _ := os.Readlink(path)
		if strings.HasPrefix(path, h.dir) || strings.HasPrefix(target, h.dir) || strings.Contains(path, h.instance) {
			fmt.Fprintln(&b, path)
		}
		return nil
	})
	return b.String()
}

// processes are those that were started from the host's directory, or whose
// network is the host's or one of its pods'.
func (h *host) processes() string {
	var b strings.Builder
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		groups, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		if strings.HasPrefix(exe, h.data()) || bytes.Contains(groups, []byte(h.instance)) {
			fmt.Fprintf(&b, "%s %s %s\n", filepath.Base(dir), exe, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))
		}
	}
	return b.String()
}

// mounts are those in this mount namespace that are the cloud's by their place.
func (h *host) mounts(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, h.dir) || strings.Contains(line, h.instance) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// linkNames keeps the names of `ip -o link`; the rest, such as statistics and
// state, changes by itself.
func linkNames(out string) string {
	var names []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 {
			names = append(names, f[1])
		}
	}
	return strings.Join(names, "\n")
}

// sameAs fails the test with what is there now and was not before, or the other
// way round. What the kernel takes away in the background gets a moment.
func (h *host) sameAs(t testing.TB, before machine) {
	t.Helper()
	var more, less []string
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		now := h.look(t)
		more, less = nil, nil
		for line := range now {
			if !before[line] {
				more = append(more, line)
			}
		}
		for line := range maps.Keys(before) {
			// A process that was there before, such as another test's, may end.
			if !now[line] && !strings.HasPrefix(line, "process: ") {
				less = append(less, line)
			}
		}
		if len(more)+len(less) == 0 {
			return
		}
		if time.Now().After(limit) {
			break
		}
	}
	slices.Sort(more)
	slices.Sort(less)
	t.Errorf("left behind:\n  %s\nmissing:\n  %s", strings.Join(more, "\n  "), strings.Join(less, "\n  "))
}
