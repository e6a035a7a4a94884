package containertest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
)

var execs = map[string]func(*testing.T, *Node){
	"exec has streams and a code of its own": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		var out, errs buffer
		code, err := n.Exec(t.Context(), spec.ID, n.Process("both"), container.Stdio{Stdout: &out, Stderr: &errs})
		if err != nil || code != 0 || out.String() != "to stdout\n" || errs.String() != "to stderr\n" {
			t.Errorf("Exec = %d, %v; stdout %q, stderr %q", code, err, out.String(), errs.String())
		}
		out.Reset()
		code, err = n.Exec(t.Context(), spec.ID, n.Process("cat"), container.Stdio{Stdin: strings.NewReader("in and out"), Stdout: &out})
		if err != nil || code != 0 || out.String() != "in and out" {
			t.Errorf("Exec cat = %d, %v; stdout %q", code, err, out.String())
		}
		if code, err = n.Exec(t.Context(), spec.ID, n.Process("exit", "42"), container.Stdio{}); err != nil || code != 42 {
			t.Errorf("Exec exit = %d, %v; want 42", code, err)
		}
		if got := n.Log(spec.Log); len(got) != 0 {
			t.Errorf("the container's log = %q, want nothing of an exec", got)
		}
	},
	"exec is inside": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		var out buffer
		if _, err := n.Exec(t.Context(), spec.ID, n.Process("hostname"), container.Stdio{Stdout: &out}); err != nil || out.String() != "box\n" {
			t.Errorf("Exec hostname = %q, %v; want box", out.String(), err)
		}
		out.Reset()
		_, err := n.Exec(t.Context(), spec.ID, n.Process("read", "/proc/self/status"), container.Stdio{Stdout: &out})
		if err != nil || !strings.Contains(out.String(), "Seccomp:\t2") || !strings.Contains(out.String(), "NoNewPrivs:\t1") {
			t.Errorf("Exec: %v; want the container's seccomp filter and no_new_privs in\n%s", err, out.String())
		}
		out.Reset()
		_, err = n.Exec(t.Context(), spec.ID, n.Process("read", "/proc/1/cgroup"), container.Stdio{Stdout: &out})
		var own buffer
		if _, err2 := n.Exec(t.Context(), spec.ID, n.Process("read", "/proc/self/cgroup"), container.Stdio{Stdout: &own}); err != nil || err2 != nil || own.String() != out.String() {
			t.Errorf("cgroup of an exec = %q, want the container's %q", own.String(), out.String())
		}
	},
	"much output is whole": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		var out buffer
		code, err := n.Exec(t.Context(), spec.ID, n.Process("count", "50000"), container.Stdio{Stdout: &out})
		if got := strings.Count(out.String(), "\n"); err != nil || code != 0 || got != 50000 {
			t.Errorf("Exec = %d, %v; %d lines, want 50000", code, err, got)
		}
	},
	"exec with a terminal": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		p := n.Process("tty")
		p.Terminal = true
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var out buffer
		sizes := make(chan container.Size)
		go n.Exec(ctx, spec.ID, p, container.Stdio{Stdout: &out, Resize: sizes})
		n.Until("it sees a terminal", func() bool { return strings.Contains(out.String(), "tty true") })
		sizes <- container.Size{Width: 90, Height: 30}
		n.Until("it sees the size", func() bool { return strings.Contains(out.String(), "tty true 90x30\r\n") })
	},
	"exec ends with its context": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := n.Exec(ctx, spec.ID, n.Process("sleep"), container.Stdio{}); fault.Of(err) != fault.Timeout {
			t.Errorf("Exec = %v, want %v", err, fault.Timeout)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("Exec returned after %v", took)
		}
		pids, err := os.ReadFile(filepath.Join(cgroupDir(spec), "cgroup.procs"))
		if got := strings.Fields(string(pids)); err == nil && len(got) != 1 {
			t.Errorf("processes in the container: %v, want its first alone", got)
		}
	},
	"what an exec leaves running does not hold it up": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var out buffer
		if code, err := n.Exec(ctx, spec.ID, n.Process("leave"), container.Stdio{Stdout: &out}); code != 0 || err != nil {
			t.Errorf("Exec = %d, %v", code, err)
		}
	},
	"a program that cannot be executed": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		for path, want := range map[string]int{"/bin/none": 127, "/bin/data": 126} {
			p := n.Process()
			p.Args = []string{path}
			code, err := n.Exec(t.Context(), spec.ID, p, container.Stdio{})
			if code != want || err == nil {
				t.Errorf("Exec %s = %d, %v; want %d and an error", path, code, err, want)
			}
		}
	},
	"exec in an ended container is refused": func(t *testing.T, n *Node) {
		spec := n.Spec("exit", "0")
		n.Start(spec)
		n.WaitFor(spec.ID)
		if _, err := n.Exec(t.Context(), spec.ID, n.Process("exit", "0"), container.Stdio{}); fault.Of(err) != fault.Precondition {
			t.Errorf("Exec = %v, want %v", err, fault.Precondition)
		}
		if _, err := n.Exec(t.Context(), "nobody", n.Process("exit", "0"), container.Stdio{}); fault.Of(err) != fault.NotFound {
			t.Errorf("Exec in an unknown container = %v, want %v", err, fault.NotFound)
		}
	},
}
