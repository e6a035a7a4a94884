package scope

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/scope/scopetest"
)

func TestNames(t *testing.T) {
	for cgroup, want := range map[string]string{
		"/sampan":             "sampan.slice",
		"/sampan-12ab/local":  "sampan_12ab-local.slice",
		"kubepods/burstable/": "kubepods-burstable.slice",
	} {
		if got := sliceName(cgroup); got != want {
			t.Errorf("sliceName(%q) = %q, want %q", cgroup, got, want)
		}
	}
	for parent, want := range map[string]string{
		"/sampan/local": "/sampan.slice/sampan-local.slice/sampan-x.scope",
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice": "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/sampan-x.scope",
		"kubepods-pod1.slice": "/kubepods.slice/kubepods-pod1.slice/sampan-x.scope",
	} {
		if got, err := scopePath(parent, scopeName("x")); got != want || err != nil {
			t.Errorf("scopePath(%q) = %q, %v; want %q", parent, got, err, want)
		}
	}
	for _, bad := range []string{"", "/", ".slice", "/x/a--b.slice", "-a.slice", "a//b"} {
		if got, err := scopePath(bad, scopeName("x")); fault.Of(err) != fault.Invalid {
			t.Errorf("scopePath(%q) = %q, %v; want %v", bad, got, err, fault.Invalid)
		}
	}
}

func TestThePlaceHolderSleepsUntilItIsKilled(t *testing.T) {
	pid, err := startPlace()
	must(t, err)
	fd, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	defer unix.Close(fd)
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100); n != 0 {
		t.Fatal("it has ended by itself")
	}
	must(t, endPlace(pid))
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000); n != 1 {
		t.Error("it does not end")
	}
}

func TestWithoutSystemdThereAreNoScopes(t *testing.T) {
	if _, err := os.Stat(booted); err == nil {
		t.Skip("systemd is this machine's init")
	}
	if _, err := Open(nil); fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), "systemd is not this machine's init") {
		t.Errorf("Open = %v, want %v", err, fault.Precondition)
	}
}

func TestHybrid(t *testing.T) {
	scopetest.WithInit(t, "hybrid", func(t *testing.T) { life(t, real(t)); limits(t, real(t)) })
}
func TestV1(t *testing.T) {
	scopetest.WithInit(t, "v1", func(t *testing.T) { life(t, real(t)); limits(t, real(t)) })
}

// On a machine whose controllers are of version 1, none is left for version 2.
// What systemd does of itself is the same without.
func TestV2(t *testing.T) {
	scopetest.WithInit(t, "v2", func(t *testing.T) {
		if groups, err := cgroup.New(cgroup.Config{}); err == nil {
			life(t, groups)
			limits(t, groups)
		} else {
			life(t, bare{})
		}
	})
}

// podSlice is a pod's parent as the kubelet names it.
const podSlice = "/sampan.slice/sampan-kubepods.slice/sampan-kubepods-pod1_2.slice"

func real(t *testing.T) Groups {
	groups, err := cgroup.New(cgroup.Config{})
	must(t, err)
	return groups
}

// bare is a v2 tree of which only the groups count.
type bare struct{}

func (bare) dir(name string) string { return filepath.Join(cgroup.DefaultRoot, name) }

func (b bare) Has(name string) bool {
	_, err := os.Stat(b.dir(name))
	return err == nil
}

func (b bare) Settle(_ context.Context, name string, pid int) error {
	if err := os.MkdirAll(b.dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir(name), "cgroup.procs"), fmt.Appendf(nil, "%d", pid), 0)
}

func (b bare) Remove(_ context.Context, name string) error {
	if b.Has(name) {
		return fmt.Errorf("%s: systemd has left it", name)
	}
	return nil
}

// sleeper is a process in a group.
func sleeper(t *testing.T, groups Groups, group string) *exec.Cmd {
	t.Helper()
	c := exec.Command("sleep", "1000")
	must(t, c.Start())
	must(t, groups.Settle(t.Context(), group, c.Process.Pid))
	return c
}

// left are the directories of a group in all hierarchies.
func left(t *testing.T, group string) []string {
	t.Helper()
	list, err := filepath.Glob("/sys/fs/cgroup/*" + group)
	must(t, err)
	if v2 := "/sys/fs/cgroup" + group; exists(v2) {
		list = append(list, v2)
	}
	return list
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// life is what a pod's scope must do, with a real systemd.
func life(t *testing.T, groups Groups) {
	m, err := Open(groups)
	must(t, err)
	defer m.Close()
	ctx := t.Context()
	for range 2 {
		if path, err := m.Slice(ctx, "/sampan"); err != nil || path != "/sampan.slice" {
			t.Fatalf("Slice = %q, %v", path, err)
		}
	}
	path, err := m.Hold(ctx, podSlice, "web")
	must(t, err)
	if again, err := m.Hold(ctx, podSlice, "web"); err != nil || again != path {
		t.Errorf("the second Hold = %q, %v; want %q", again, err, path)
	}
	if got := show(t, "sampan-web.scope", "ControlGroup", "Slice", "Delegate", "ActiveState", "TasksMax"); got != path+" "+filepath.Base(podSlice)+" yes active infinity" {
		t.Errorf("systemd says %q of %s", got, path)
	}

	// It stays while nothing of the pod runs.
	c := sleeper(t, groups, path+"/c1")
	must(t, c.Process.Kill())
	c.Wait()
	time.Sleep(300 * time.Millisecond) // systemd removes what it takes for ended
	if !groups.Has(path + "/c1") {
		t.Error("the cgroup of an ended container is gone, before anybody has read it")
	}

	// It goes with all that is in it, also what systemd does not manage.
	c = sleeper(t, groups, path+"/c2")
	for range 2 {
		must(t, m.Release(ctx, "web", "")) // as after a crash
	}
	c.Wait()
	if dirs := left(t, path); len(dirs) > 0 {
		t.Errorf("left: %v", dirs)
	}

	// Processes of ours are in one together, and nothing happens to those there.
	var together []*exec.Cmd
	for range 2 {
		c := exec.Command("sleep", "1000")
		must(t, c.Start())
		must(t, m.Move(ctx, "/sampan", "keeper", c.Process.Pid))
		together = append(together, c)
	}
	for _, c := range together {
		if at, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.Process.Pid)); err != nil || !strings.Contains(string(at), ":/sampan.slice/sampan-keeper.scope\n") {
			t.Errorf("it is in %s, %v", at, err)
		}
		go c.Wait()
	}
	if _, err := m.Hold(ctx, podSlice, "more"); err != nil {
		t.Error(err)
	}
	must(t, m.RemoveSlice(ctx, "/sampan"))
	if dirs := left(t, "/sampan.slice"); len(dirs) > 0 {
		t.Errorf("left: %v", dirs)
	}
}

// limits below a scope are ours alone, also when systemd reads its files anew.
func limits(t *testing.T, groups Groups) {
	m, err := Open(groups)
	must(t, err)
	defer m.Close()
	path, err := m.Hold(t.Context(), podSlice, "web")
	must(t, err)
	limit := int64(64 << 20)
	g, err := groups.(*cgroup.Manager).Create(t.Context(), path+"/c1", &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &limit}, Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
	})
	must(t, err)
	c := sleeper(t, groups, path+"/c1")
	run(t, "systemctl", "daemon-reload")
	if s, err := g.Stats(); err != nil || s.MemoryLimit != uint64(limit) || s.PIDs != 1 {
		t.Errorf("after daemon-reload Stats = %+v, %v; want the limit and one process", s, err)
	}
	list, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/devices", path, "c1/devices.list"))
	v2 := groups.(*cgroup.Manager).Version() == cgroup.V2 // has a program in place of the file
	if !v2 && (err != nil || strings.Contains(string(list), "a *:* rwm")) {
		t.Errorf("after daemon-reload the devices %s are allowed, %v; want the usual ones only", list, err)
	}
	must(t, g.Kill(t.Context()))
	c.Wait()
	must(t, m.RemoveSlice(t.Context(), "/sampan"))
}

// show asks systemd for properties of a unit.
func show(t *testing.T, unit string, names ...string) string {
	t.Helper()
	var all []string
	for _, n := range names {
		all = append(all, run(t, "systemctl", "show", "--property="+n, "--value", unit))
	}
	return strings.Join(all, " ")
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
