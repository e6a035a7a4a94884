package containertest

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/test/need"
)

// checkpoints are tested of the native path; a stock runtime's containers are
// refused.
func checkpoints(handler string) map[string]func(*testing.T, *Node) {
	tests := map[string]func(*testing.T, *Node){"what could not be restored is not checkpointed": refusedCheckpoints}
	if handler == "" {
		maps.Copy(tests, nativeCheckpoints)
		maps.Copy(tests, nativeRestores)
	}
	return tests
}

var nativeCheckpoints = map[string]func(*testing.T, *Node){
	"a checkpointed container goes on": func(t *testing.T, n *Node) {
		need.CRIU(t)
		spec := n.tally(50, 5)
		n.checkpoint(spec)
		n.checkpoint(spec)
		t.Logf("it stood still for %s", n.pause(spec))
		if st := n.end(spec); st.Code != 5 {
			t.Errorf("Code = %d, want 5", st.Code)
		}
		n.counts(spec, 0)
	},
	"a keeper that dies over a dump leaves the container running": func(t *testing.T, n *Node) {
		need.CRIU(t)
		spec := n.tally(50, 5)
		for i := range 5 {
			dir := t.TempDir()
			failed := make(chan error, 1)
			go func() { failed <- n.Checkpoint(t.Context(), spec, dir, nil) }()
			time.Sleep(time.Duration(5+30*i) * time.Millisecond)
			n.KillKeeper()
			<-failed
			// Also from under a CRIU that goes on, and makes files meanwhile.
			n.Until("it is gone", func() bool { return os.RemoveAll(dir) == nil })
			before := n.lastCount(spec)
			n.Until("it counts on", func() bool { return n.lastCount(spec) > before+20 })
		}
		if st := n.end(spec); st.Code != 5 {
			t.Errorf("Status = %+v, want code 5", st)
		}
		n.counts(spec, 0)
	},
	"a failed dump leaves the container as it was": func(t *testing.T, n *Node) {
		need.CRIU(t)
		spec := n.Spec("ring")
		spec.OCI.Linux.Seccomp = nil
		n.Start(spec)
		n.Until("it is ready", func() bool { return len(n.Log(spec.Log)) > 0 })
		if log := n.Log(spec.Log); log[0] != "stdout F ready" {
			t.Skipf("io_uring: %s", log[0])
		}
		err := n.Checkpoint(t.Context(), spec, t.TempDir(), nil)
		if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), "criu: ") {
			t.Errorf("Checkpoint = %v, want %v with CRIU's reason", err, fault.Precondition)
		}
		lines := len(n.Log(spec.Log))
		n.Until("it goes on", func() bool { return len(n.Log(spec.Log)) > lines+2 })
	},
}

func refusedCheckpoints(t *testing.T, n *Node) {
	if n.handler == "" {
		n.must(n.Close())
		n.cfg.CRIU = "/missing/criu"
		n.Connect()
		spec := n.Spec("sleep")
		n.Start(spec)
		err := n.Checkpoint(t.Context(), spec, t.TempDir(), nil)
		if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), "/missing/criu on this machine, install CRIU 4.") {
			t.Errorf("without CRIU: %v, want %v and what to install", err, fault.Precondition)
		}
	}
	for why, change := range map[string]func(*container.Spec){
		"terminal":         func(s *container.Spec) { s.OCI.Process.Terminal = true },
		"IPC namespace":    func(s *container.Spec) { n.without(s, specs.IPCNamespace) },
		"host's processes": func(s *container.Spec) { n.without(s, specs.PIDNamespace) },
		"shows on the host": func(s *container.Spec) {
			s.OCI.Mounts = append(s.OCI.Mounts, specs.Mount{Destination: "/shared", Type: "bind", Source: n.image, Options: []string{"rbind", "rshared"}})
		},
	} {
		spec := n.Spec("sleep")
		if n.handler == "" {
			change(&spec)
		} else {
			why = "runs under " + n.handler
		}
		n.Start(spec)
		err := n.Checkpoint(t.Context(), spec, t.TempDir(), nil)
		if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), why) {
			t.Errorf("Checkpoint = %v, want %v and %q", err, fault.Precondition, why)
		}
		n.kill(spec)
	}
}

// tally starts a container that counts, with some memory.
func (n *Node) tally(megabytes, code int) container.Spec {
	n.t.Helper()
	spec := n.Spec("tally", fmt.Sprint(megabytes), fmt.Sprint(code))
	n.Start(spec)
	n.counts(spec, 20)
	return spec
}

// checkpoint takes one, into a directory that it returns.
func (n *Node) checkpoint(spec container.Spec) string {
	n.t.Helper()
	dir := n.t.TempDir()
	if err := n.Checkpoint(n.t.Context(), spec, dir, nil); err != nil {
		n.t.Fatalf("Checkpoint: %v", err)
	}
	return dir
}

// kill ends a container and forgets it.
func (n *Node) kill(spec container.Spec) {
	n.t.Helper()
	n.must(n.Signal(n.t.Context(), spec.ID, int(unix.SIGKILL), true))
	n.WaitFor(spec.ID)
	n.must(n.Delete(n.t.Context(), spec.ID))
}

// end asks a container to end.
func (n *Node) end(spec container.Spec) container.Status {
	n.t.Helper()
	n.must(n.Signal(n.t.Context(), spec.ID, int(unix.SIGTERM), false))
	return n.WaitFor(spec.ID)
}

// counts waits until a container has said as many numbers, checks that none is
// missing between them, and returns the first.
func (n *Node) counts(spec container.Spec, atLeast int) int {
	n.t.Helper()
	var all []int
	n.Until("it counts", func() bool { all = n.numbers(spec); return len(all) >= max(atLeast, 1) })
	for i, number := range all {
		if number != all[0]+i {
			n.t.Fatalf("%s says %d after %d", spec.ID, number, all[i-1])
		}
	}
	return all[0]
}

// lastCount is the last number that a container has said.
func (n *Node) lastCount(spec container.Spec) int {
	n.t.Helper()
	all := n.numbers(spec)
	return all[len(all)-1]
}

// numbers are those that a container has said. A line whose end is missing does
// not count: the keeper may just have been killed over it, and the next one
// completes it.
func (n *Node) numbers(spec container.Spec) (all []int) {
	n.t.Helper()
	text, err := os.ReadFile(spec.Log)
	n.must(err)
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		_, said, _ := strings.Cut(line, " stdout F count ")
		number, err := strconv.Atoi(strings.TrimSpace(said))
		if err != nil {
			n.t.Fatalf("log of %s: line %q, want a count", spec.ID, line)
		}
		all = append(all, number)
	}
	return all
}

// pause is the longest time between two lines of a container.
func (n *Node) pause(spec container.Spec) (longest time.Duration) {
	n.t.Helper()
	text, err := os.ReadFile(spec.Log)
	n.must(err)
	var before time.Time
	for line := range strings.Lines(string(text)) {
		at, err := time.Parse(time.RFC3339Nano, strings.Fields(line)[0])
		n.must(err)
		if !before.IsZero() {
			longest = max(longest, at.Sub(before))
		}
		before = at
	}
	return longest
}

// without takes a namespace away: the container is in the host's.
func (n *Node) without(s *container.Spec, kind specs.LinuxNamespaceType) {
	var kept []specs.LinuxNamespace
	for _, ns := range s.OCI.Linux.Namespaces {
		if ns.Type != kind {
			kept = append(kept, ns)
		}
	}
	s.OCI.Linux.Namespaces = kept
	if kind == specs.PIDNamespace {
		s.OCI.Mounts[0] = specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind"}}
	}
}
