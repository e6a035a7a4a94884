package containertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
)

var limits = map[string]func(*testing.T, *Node){
	"a kill for memory is told": func(t *testing.T, n *Node) {
		limit := int64(32 << 20)
		spec := n.Spec("eat", "100")
		spec.OCI.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}}
		n.Start(spec)
		if st := n.WaitFor(spec.ID); st.Code != 137 || !st.OOM {
			t.Errorf("Status = %+v, want code 137 and OOM", st)
		}
		spec = n.Spec("exit", "0")
		n.Start(spec)
		if st := n.WaitFor(spec.ID); st.OOM {
			t.Errorf("Status = %+v, want no OOM", st)
		}
	},
	"limits change while it runs": func(t *testing.T, n *Node) {
		before, after := int64(64<<20), int64(128<<20)
		spec := n.Spec("sleep")
		spec.OCI.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &before}}
		n.Start(spec)
		n.must(n.Update(t.Context(), spec.ID, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &after}}))
		st, err := n.Stats(t.Context(), spec.ID)
		if err != nil || st.MemoryLimit != uint64(after) || st.Memory == 0 || st.PIDs == 0 {
			t.Errorf("Stats = %+v, %v; want the new limit and some use", st, err)
		}
	},
	"no huge pages is a limit that every machine has": func(t *testing.T, n *Node) {
		none := &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB"}}} // as the kubelet asks for
		spec := n.Spec("sleep")
		spec.OCI.Linux.Resources = none
		n.Start(spec)
		n.must(n.Update(t.Context(), spec.ID, none))
	},
	"a pod's namespaces live without a process": func(t *testing.T, n *Node) {
		want := container.NamespaceRequest{IPC: true, UTS: true, Hostname: "pod", Sysctls: map[string]string{"kernel.shmmni": "1234"}}
		ns, err := n.Namespaces(t.Context(), "p1", want)
		n.must(err)
		if again, err := n.Namespaces(t.Context(), "p1", want); err != nil || again != ns {
			t.Errorf("the second time: %v, %v; want %v", again, err, ns)
		}
		join := func(s *container.Spec) {
			s.OCI.Hostname = ""
			for i := range s.OCI.Linux.Namespaces {
				switch l := &s.OCI.Linux.Namespaces[i]; l.Type {
				case specs.UTSNamespace:
					l.Path = ns.UTS
				case specs.IPCNamespace:
					l.Path = ns.IPC
				}
			}
		}
		for args, want := range map[[2]string]string{
			{"hostname", ""}:                    "stdout F pod",
			{"read", "/proc/sys/kernel/shmmni"}: "stdout F 1234",
		} {
			spec := n.Spec(args[:]...)
			join(&spec)
			n.Start(spec)
			n.WaitFor(spec.ID)
			if got := n.Log(spec.Log); len(got) == 0 || got[0] != want {
				t.Errorf("%s says %q, want %q", args, got, want)
			}
		}
		for range 2 {
			n.must(n.ReleaseNamespaces(t.Context(), "p1"))
		}
		if _, err := os.Stat(ns.UTS); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("released: %v, want it gone", err)
		}
	},
	"a pod's namespaces may belong to its own users": func(t *testing.T, n *Node) {
		if n.handler != "" {
			t.Skip("only the native runtime has user namespaces")
		}
		if err := n.UserNamespaces(filepath.Dir(n.image)); err != nil {
			t.Skip(err)
		}
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		ns, err := n.Namespaces(t.Context(), "p4", container.NamespaceRequest{
			IPC: true, UTS: true, Net: true, UIDs: ids, GIDs: ids,
			Hostname: "pod", Sysctls: map[string]string{"kernel.shmmni": "1234", "fs.mqueue.msg_max": "33"},
		})
		n.must(err)
		for args, want := range map[[2]string]string{
			{"hostname", ""}:                    "stdout F pod",
			{"read", "/proc/sys/kernel/shmmni"}: "stdout F 1234",
			{"read", "/proc/self/uid_map"}:      "stdout F          0     100000      65536",
			// Its own network, of which only the namespaces' owner may show a sysfs.
			{"read", "/sys/class/net/lo/ifindex"}: "stdout F 1",
		} {
			spec := n.Spec(args[:]...)
			l := spec.OCI.Linux
			l.UIDMappings, l.GIDMappings, spec.OCI.Hostname = ids, ids, ""
			l.Namespaces = []specs.LinuxNamespace{
				{Type: specs.UserNamespace, Path: ns.User}, {Type: specs.NetworkNamespace, Path: ns.Net},
				{Type: specs.IPCNamespace, Path: ns.IPC}, {Type: specs.UTSNamespace, Path: ns.UTS},
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace},
			}
			n.Start(spec)
			n.WaitFor(spec.ID)
			if got := n.Log(spec.Log); len(got) == 0 || got[0] != want {
				t.Errorf("%s says %q, want %q", args, got, want)
			}
		}
		n.must(n.ReleaseNamespaces(t.Context(), "p4"))
	},
	"a pause container holds a process namespace for others": func(t *testing.T, n *Node) {
		pause, other := n.Spec("sleep"), n.Spec("read", "/proc/1/comm")
		var err error
		pause.Root, pause.OCI.Process.Args, err = n.Pause()
		n.must(err)
		st := n.Start(pause)
		for i, ns := range other.OCI.Linux.Namespaces {
			if ns.Type == specs.PIDNamespace {
				other.OCI.Linux.Namespaces[i].Path = fmt.Sprintf("/proc/%d/ns/pid", st.PID)
			}
		}
		n.Start(other)
		n.WaitFor(other.ID)
		if got := n.Log(other.Log); len(got) == 0 || got[0] != "stdout F sampan-keeper" {
			t.Errorf("process 1 is %q, want the pause process", got)
		}
		n.must(n.Signal(t.Context(), pause.ID, 15, false))
		if st := n.WaitFor(pause.ID); st.Code != 0 {
			t.Errorf("pause ended with %+v, want code 0", st)
		}
	},
	"a sysctl of the host is refused": func(t *testing.T, n *Node) {
		for _, key := range []string{"kernel.panic", "net.ipv4.ip_forward", "kernel.shmmax/../panic"} {
			_, err := n.Namespaces(t.Context(), "p2", container.NamespaceRequest{IPC: true, Sysctls: map[string]string{key: "1"}})
			if fault.Of(err) != fault.Invalid {
				t.Errorf("%s: %v, want %v", key, err, fault.Invalid)
			}
		}
		if left, err := os.ReadDir(filepath.Join(n.cfg.Dir, "ns")); err != nil || len(left) != 0 {
			t.Errorf("left: %v, %v; want nothing", left, err)
		}
	},
	"down leaves nothing, also after everything was killed": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		_, err := n.Namespaces(t.Context(), "p3", container.NamespaceRequest{UTS: true})
		n.must(err)
		n.killBoth()
		n.Connect()
		n.must(n.Down(t.Context()))
		for _, left := range []string{n.cfg.Dir, cgroupDir(spec)} {
			if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", left, err)
			}
		}
		n.Connect() // for the test's own end
	},
}
