package containertest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
)

var life = map[string]func(*testing.T, *Node){
	"exit codes are the program's": func(t *testing.T, n *Node) {
		for _, want := range []string{"0", "1", "77", "255"} {
			spec := n.Spec("exit", want)
			st := n.Start(spec)
			// A short program may have ended before anybody is told that it runs.
			if (st.PID != 0) != (st.Phase == container.Running) || st.Started.IsZero() {
				t.Errorf("Start = %+v, want a process as long as it runs", st)
			}
			if st := n.WaitFor(spec.ID); number(want) != st.Code || st.Phase != container.Exited || st.Finished.Before(st.Started) {
				t.Errorf("Wait = %+v, want code %s", st, want)
			}
		}
	},
	"a signal is code 128 and its number": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		n.must(n.Signal(t.Context(), spec.ID, int(unix.SIGKILL), false))
		if st := n.WaitFor(spec.ID); st.Code != 137 {
			t.Errorf("Code = %d, want 137", st.Code)
		}
	},
	"a program can end in its own way": func(t *testing.T, n *Node) {
		spec := n.Spec("graceful", "9")
		n.Start(spec)
		n.Until("it is ready", func() bool { return len(n.Log(spec.Log)) == 1 })
		n.must(n.Signal(t.Context(), spec.ID, int(unix.SIGTERM), false))
		if st := n.WaitFor(spec.ID); st.Code != 9 {
			t.Errorf("Code = %d, want 9", st.Code)
		}
	},
	"a signal can go to all processes": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		n.must(n.Signal(t.Context(), spec.ID, int(unix.SIGKILL), true))
		if st := n.WaitFor(spec.ID); st.Code != 137 {
			t.Errorf("Code = %d, want 137", st.Code)
		}
	},
	"a cgroup that others are in is theirs": func(t *testing.T, n *Node) {
		first, second := n.Spec("sleep"), n.Spec("exit", "0")
		n.Start(first)
		second.OCI.Linux.CgroupsPath = first.OCI.Linux.CgroupsPath
		if _, err := n.Runtime.Start(t.Context(), second); fault.Of(err) != fault.Exists {
			t.Errorf("Start = %v, want %v", err, fault.Exists)
		}
		if st, err := n.Status(t.Context(), first.ID); err != nil || st.Phase != container.Running {
			t.Errorf("Status = %+v, %v, want it to run on", st, err)
		}
	},
	"an ended container is known until it is deleted": func(t *testing.T, n *Node) {
		spec := n.Spec("exit", "3")
		n.Start(spec)
		n.WaitFor(spec.ID)
		if all, err := n.List(t.Context()); err != nil || len(all) != 1 || all[0].Code != 3 {
			t.Errorf("List = %v, %v; want the one with code 3", all, err)
		}
		for range 2 {
			if err := n.Delete(t.Context(), spec.ID); err != nil {
				t.Errorf("Delete = %v", err)
			}
		}
		if _, err := n.Status(t.Context(), spec.ID); fault.Of(err) != fault.NotFound {
			t.Errorf("Status of a deleted container: %v, want not found", err)
		}
		if _, err := os.Stat(cgroupDir(spec)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("its cgroup: %v, want it gone", err)
		}
	},
	"a running container is not deleted": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		if err := n.Delete(t.Context(), spec.ID); fault.Of(err) != fault.Precondition {
			t.Errorf("Delete = %v, want %v", err, fault.Precondition)
		}
	},
	"an identity is given once": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		if _, err := n.Runtime.Start(t.Context(), spec); fault.Of(err) != fault.Exists {
			t.Errorf("second Start = %v, want %v", err, fault.Exists)
		}
		if st, err := n.Status(t.Context(), spec.ID); err != nil || st.Phase != container.Running {
			t.Errorf("Status of the first = %v, %v; want it running", st, err)
		}
	},
	"exits are delivered, also those before": func(t *testing.T, n *Node) {
		before, after := n.Spec("exit", "1"), n.Spec("exit", "2")
		n.Start(before)
		n.WaitFor(before.ID)
		exits, err := n.Exits(t.Context())
		n.must(err)
		if e := <-exits; e.ID != before.ID || e.Code != 1 {
			t.Errorf("first exit = %+v", e)
		}
		n.Start(after)
		if e := <-exits; e.ID != after.ID || e.Code != 2 {
			t.Errorf("second exit = %+v", e)
		}
	},
	"what an ended container left running is killed": func(t *testing.T, n *Node) {
		spec := n.Spec("leave")
		n.Start(spec)
		n.WaitFor(spec.ID)
		n.must(n.Delete(t.Context(), spec.ID)) // fails while the cgroup has a process
	},
	"a failed start says what failed and leaves nothing": func(t *testing.T, n *Node) {
		for name, tt := range map[string]struct {
			change func(*container.Spec)
			path   string
			errno  syscall.Errno
		}{
			"no such program":      {func(s *container.Spec) { s.OCI.Process.Args = []string{"/bin/none"} }, "/bin/none", unix.ENOENT},
			"a file is no program": {func(s *container.Spec) { s.OCI.Process.Args = []string{"/bin/data"} }, "/bin/data", unix.EACCES},
		} {
			spec := n.Spec("exit", "0")
			tt.change(&spec)
			_, err := n.Runtime.Start(t.Context(), spec)
			if err == nil {
				t.Fatalf("%s: Start = nil", name)
			}
			var step *launch.StepError
			if !errors.As(err, &step) || step.Step != "exec" || step.Path != tt.path || step.Errno != tt.errno {
				t.Errorf("%s: Start = %v, want a step with path %s and errno %v", name, err, tt.path, tt.errno)
			}
			for _, left := range []string{spec.Log, cgroupDir(spec), filepath.Join(n.cfg.Dir, "containers", spec.ID)} {
				if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: %s is left: %v", name, left, err)
				}
			}
			if all, _ := n.List(t.Context()); len(all) != 0 {
				t.Errorf("%s: List = %v, want none", name, all)
			}
		}
	},
	"what cannot be is the request's mistake": func(t *testing.T, n *Node) {
		for name, change := range map[string]func(*container.Spec){
			"a directory for a log": func(s *container.Spec) { s.Log = t.TempDir() },
			"a directory over a file": func(s *container.Spec) {
				s.OCI.Mounts = append(s.OCI.Mounts, specs.Mount{Destination: "/bin/data", Source: t.TempDir(), Type: "bind", Options: []string{"rbind"}})
			},
		} {
			spec := n.Spec("exit", "0")
			change(&spec)
			if _, err := n.Runtime.Start(t.Context(), spec); fault.Of(err) != fault.Invalid {
				t.Errorf("%s: Start = %v, want %v", name, err, fault.Invalid)
			}
		}
	},
}

func number(s string) (n int) {
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}
