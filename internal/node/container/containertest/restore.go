package containertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/test/need"
)

var nativeRestores = map[string]func(*testing.T, *Node){
	"a restored container goes on where it was": func(t *testing.T, n *Node) {
		need.CRIU(t)
		spec := n.tally(50, 5)
		dir := n.checkpoint(spec)
		n.kill(spec)
		last := n.lastCount(spec)
		again := n.restored(dir, spec)
		n.Start(again)
		first := n.counts(again, 20)
		if first < 2 || first > last+1 {
			t.Errorf("its first count is %d; at the checkpoint's end it was %d", first, last)
		}
		var out buffer
		if code, err := n.Exec(t.Context(), again.ID, n.Process("ask"), container.Stdio{Stdout: &out}); err != nil || code != 0 {
			t.Errorf("Exec = %d, %v", code, err)
		}
		if said, err := strconv.Atoi(strings.TrimSpace(out.String())); err != nil || said < first {
			t.Errorf("asked over TCP it says %q, want more than %d", out.String(), first)
		}
		if st := n.end(again); st.Code != 5 {
			t.Errorf("Status = %+v, want code 5", st)
		}
		n.counts(again, 0)
	},
	"a restored container is in its new cgroup and namespaces": func(t *testing.T, n *Node) {
		need.CRIU(t)
		spec := n.tally(1, 0)
		dir := n.checkpoint(spec)
		n.kill(spec)
		again := n.restored(dir, spec)
		ns, err := n.Namespaces(t.Context(), "pod", container.NamespaceRequest{IPC: true, UTS: true, Hostname: "another"})
		n.must(err)
		for i, s := range again.OCI.Linux.Namespaces {
			switch s.Type {
			case specs.IPCNamespace:
				again.OCI.Linux.Namespaces[i].Path = ns.IPC
			case specs.UTSNamespace:
				again.OCI.Linux.Namespaces[i].Path = ns.UTS
			}
		}
		pid := n.Start(again).PID
		for kind, pin := range map[string]string{"ipc": ns.IPC, "uts": ns.UTS} {
			var want, got unix.Stat_t
			n.must(unix.Stat(pin, &want))
			n.must(unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), &got))
			if want.Ino != got.Ino {
				t.Errorf("%s namespace is %d, want the pod's %d", kind, got.Ino, want.Ino)
			}
		}
		procs, err := os.ReadFile(filepath.Join(cgroupDir(again), "cgroup.procs"))
		n.must(err)
		if !strings.Contains("\n"+string(procs), fmt.Sprintf("\n%d\n", pid)) {
			t.Errorf("cgroup holds %q, want process %d", procs, pid)
		}
		n.end(again)
		n.must(n.ReleaseNamespaces(t.Context(), "pod"))
	},
	"what a container may not do it may not do afterwards": func(t *testing.T, n *Node) {
		need.CRIU(t)
		harden := func(s *container.Spec) {
			s.OCI.Root.Readonly = true
			s.OCI.Mounts = append(s.OCI.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec"}})
			n.without(s, specs.NetworkNamespace)
		}
		spec := n.Spec("tick", "100000")
		harden(&spec)
		before := n.Start(spec).PID
		n.Until("it runs", func() bool { return len(n.Log(spec.Log)) > 5 })
		want := rights(t, before)
		dir := n.checkpoint(spec)
		n.kill(spec)
		again := n.restored(dir, n.Spec())
		harden(&again)
		if got := rights(t, n.Start(again).PID); got != want {
			t.Errorf("it has\n%s\nbefore it had\n%s", got, want)
		}
		n.kill(again)
	},
	"volumes are the new container's": func(t *testing.T, n *Node) {
		need.CRIU(t)
		volume := func(text string) specs.Mount {
			dir := filepath.Join(filepath.Dir(n.image), text)
			n.must(os.MkdirAll(filepath.Join(dir, "below"), 0o755))
			n.must(os.WriteFile(filepath.Join(dir, "text"), []byte(text), 0o644))
			return specs.Mount{Destination: "/link/volume", Type: "bind", Source: dir, Options: []string{"rbind", "ro"}}
		}
		n.must(os.Symlink("etc", filepath.Join(n.image, "link")))
		spec := n.Spec("tally", "1", "0")
		spec.OCI.Mounts = append(spec.OCI.Mounts, volume("old"))
		n.Start(spec)
		n.Until("it counts", func() bool { return len(n.Log(spec.Log)) > 5 })
		dir := n.checkpoint(spec)
		n.kill(spec)
		again := n.restored(dir, spec)
		mounts := len(again.OCI.Mounts)
		again.OCI.Mounts[mounts-1] = volume("new")
		n.Start(again)
		var out buffer
		_, err := n.Exec(t.Context(), again.ID, n.Process("read", "/etc/volume/text"), container.Stdio{Stdout: &out})
		if err != nil || !strings.HasPrefix(out.String(), "new") {
			t.Errorf("the volume holds %q, %v; want new", out.String(), err)
		}
		n.end(again)
	},
	"a restored container outlives daemon and keeper": func(t *testing.T, n *Node) {
		need.CRIU(t)
		spec := n.tally(1, 7)
		dir := n.checkpoint(spec)
		n.kill(spec)
		again := n.restored(dir, spec)
		n.Start(again)
		n.counts(again, 20)
		n.KillKeeper()
		n.counts(again, 200)
		n.killBoth()
		before := n.lastCount(again)
		n.Connect()
		n.Until("it counts on", func() bool { return n.lastCount(again) > before+20 })
		st, err := n.Status(t.Context(), again.ID)
		n.must(err)
		n.killBoth()
		n.must(unix.Kill(st.PID, unix.SIGTERM))
		n.Until("it has ended and was reaped", func() bool { return unix.Kill(st.PID, 0) == unix.ESRCH })
		n.Connect()
		if st := n.WaitFor(again.ID); st.Code != 7 {
			t.Errorf("Status = %+v, want code 7", st)
		}
		n.counts(again, 0)
	},
	"a keeper that dies over a restore leaves nothing": func(t *testing.T, n *Node) {
		need.CRIU(t)
		spec := n.tally(20, 0)
		dir := n.checkpoint(spec)
		n.kill(spec)
		for i := range 4 {
			again := n.restored(dir, spec)
			failed := make(chan error, 1)
			go func() { _, err := n.Runtime.Start(t.Context(), again); failed <- err }()
			time.Sleep(time.Duration(5+20*i) * time.Millisecond)
			n.KillKeeper()
			if err := <-failed; err == nil {
				n.end(again) // it was done before
				continue
			}
			n.Until("nothing is left", func() bool {
				_, err := os.Stat(cgroupDir(again))
				return os.IsNotExist(err)
			})
		}
	},
	"connections go on or end, as is asked": func(t *testing.T, n *Node) {
		need.CRIU(t)
		for _, keep := range []bool{true, false} {
			spec := n.Spec("pair")
			n.Start(spec)
			n.counts(spec, 20)
			dir := n.checkpoint(spec)
			n.kill(spec)
			again := n.restored(dir, spec)
			again.Restore.KeepTCP = keep
			n.Start(again)
			if keep {
				n.counts(again, 20)
			} else {
				n.Until("it breaks", func() bool { log := n.Log(again.Log); return len(log) > 0 && log[len(log)-1] == "stdout F broken" })
			}
			n.kill(again)
		}
	},
}

// restored is another container, with the processes and files of a checkpoint.
func (n *Node) restored(dir string, of container.Spec) container.Spec {
	n.t.Helper()
	spec := n.Spec("never started")
	spec.OCI.Mounts = append([]specs.Mount(nil), of.OCI.Mounts...)
	spec.Restore = &container.Restore{Images: filepath.Join(dir, container.CheckpointImages)}
	upper := filepath.Join(spec.Root.Base, spec.Root.Upper)
	if out, err := exec.Command("tar", "-C", upper, "-xf", filepath.Join(dir, container.CheckpointUpper)).CombinedOutput(); err != nil {
		n.t.Fatalf("tar: %v\n%s", err, out)
	}
	return spec
}

// rights are what the kernel says of a process that must not change: users,
// capabilities, seccomp, limits, and how each of its mounts may be used.
func rights(t *testing.T, pid int) string {
	t.Helper()
	var kept []string
	read := func(name string, keep func(line string) string) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = keep(line); line != "" {
				kept = append(kept, line)
			}
		}
	}
	read("status", func(line string) string {
		for _, name := range []string{"Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:"} {
			if strings.HasPrefix(line, name) {
				return strings.TrimSpace(line)
			}
		}
		return ""
	})
	read("limits", strings.TrimSpace)
	mounts := len(kept)
	read("mounts", func(line string) string {
		// Device and filesystem's own options may differ.
		fields := strings.Fields(line)
		var flags []string
		for _, o := range strings.Split(fields[3], ",") {
			switch o {
			case "ro", "rw", "nosuid", "nodev", "noexec":
				flags = append(flags, o)
			}
		}
		return strings.Join([]string{fields[1], fields[2], strings.Join(flags, ",")}, " ")
	})
	slices.Sort(kept[mounts:])
	return strings.Join(kept, "\n")
}
