package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/test/need"
)

// real returns a manager of this machine's own v1 hierarchies and a path below
// which the test may make groups.
func real(t testing.TB) (*Manager, string) {
	t.Helper()
	need.CgroupV1(t, "cpu", "cpuset", "memory", "devices", "freezer", "pids")
	m, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	top := fmt.Sprintf("sampan-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	t.Cleanup(func() {
		g := &Group{m: m, path: top}
		if err := errors.Join(g.Kill(context.Background()), g.Delete(context.Background())); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return m, top
}

func create(t testing.TB, m *Manager, path string, res *specs.LinuxResources) *Group {
	t.Helper()
	g, err := m.Create(t.Context(), path, res)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// start runs a shell script inside a group.
func start(t testing.TB, g *Group, script string) *exec.Cmd {
	t.Helper()
	files, err := g.Join()
	if err != nil {
		t.Fatal(err)
	}
	join := ""
	for i := range files {
		join += fmt.Sprintf("echo 0 >&%d; ", 3+i)
	}
	cmd := exec.Command("bash", "-c", join+script)
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		f.Close()
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func read(t testing.TB, g *Group, controller, file string) string {
	t.Helper()
	text, err := readFile(g.dir(g.m.find(controller)), file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func ptr[T any](v T) *T { return &v }

func TestLimitsAreInForceOnV1(t *testing.T) {
	m, top := real(t)
	g := create(t, m, top+"/pod/web", &specs.LinuxResources{
		CPU:            &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(20000)), Period: ptr(uint64(50000)), Cpus: "0", Idle: ptr(int64(0))},
		Memory:         &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Reservation: ptr(int64(32 << 20)), Swap: ptr(int64(64 << 20)), KernelTCP: ptr(int64(1 << 20))},
		Pids:           &specs.LinuxPids{Limit: ptr(int64(17))},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB"}},
	})
	for _, want := range []struct{ controller, file, value string }{
		{"cpu", "cpu.shares", "512"}, {"cpu", "cpu.cfs_quota_us", "20000"}, {"cpu", "cpu.cfs_period_us", "50000"},
		{"cpuset", "cpuset.cpus", "0"}, {"cpuset", "cpuset.mems", "0"}, {"memory", "memory.limit_in_bytes", "67108864"},
		{"memory", "memory.soft_limit_in_bytes", "33554432"}, {"memory", "memory.memsw.limit_in_bytes", "67108864"}, {"pids", "pids.max", "17"},
		{"memory", "memory.kmem.tcp.limit_in_bytes", "1048576"},
	} {
		if got := read(t, g, want.controller, want.file); got != want.value {
			t.Errorf("%s = %q, want %q", want.file, got, want.value)
		}
	}
	if s, err := g.Stats(); err != nil || s.MemoryLimit != 64<<20 {
		t.Errorf("Stats = %+v, %v; want a limit of 64 MiB", s, err)
	}
}

func TestUpdateMovesMemoryLimitsInBothDirections(t *testing.T) {
	m, top := real(t)
	limit := func(bytes int64) *specs.LinuxResources {
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &bytes, Swap: &bytes}}
	}
	g := create(t, m, top, limit(64<<20))
	for _, mib := range []int64{256, 32, 512} {
		if err := g.Update(limit(mib << 20)); err != nil {
			t.Fatalf("Update to %d MiB: %v", mib, err)
		}
		if got, want := read(t, g, "memory", "memory.memsw.limit_in_bytes"), fmt.Sprint(mib<<20); got != want {
			t.Errorf("limit = %s, want %s", got, want)
		}
	}
	if err := g.Update(limit(-1)); err != nil {
		t.Fatal(err)
	}
	if s, err := g.Stats(); err != nil || s.MemoryLimit != 0 {
		t.Errorf("Stats after the limit is taken away = %+v, %v; want none", s, err)
	}
}

func TestTheKernelKillsForMemoryAndTheKillIsCounted(t *testing.T) {
	m, top := real(t)
	g := create(t, m, top, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(16 << 20)), Swap: ptr(int64(16 << 20))}})
	watch, err := g.WatchOOM(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := start(t, g, "exec tail /dev/zero")
	if err := cmd.Wait(); err == nil {
		t.Fatal("a process that takes all memory ended well")
	}
	if n, err := g.OOMKills(); err != nil || n == 0 {
		t.Errorf("OOMKills = %d, %v; want at least 1", n, err)
	}
	select {
	case n := <-watch:
		if n == 0 {
			t.Error("WatchOOM told of no kill")
		}
	case <-time.After(5 * time.Second):
		t.Error("WatchOOM told nothing")
	}
}

func TestWatchOOMEndsWithTheGroup(t *testing.T) {
	m, top := real(t)
	g := create(t, m, top, nil)
	watch, err := g.WatchOOM(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case _, open := <-watch:
		if open {
			t.Error("WatchOOM told of a kill")
		}
	case <-time.After(5 * time.Second):
		t.Error("WatchOOM goes on")
	}
}

func TestTheNumberOfProcessesIsLimited(t *testing.T) {
	m, top := real(t)
	g := create(t, m, top, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(1))}})
	// bash would try again for fifteen seconds.
	if err := start(t, g, "exec sh -c '(:) 2>/dev/null' 2>/dev/null").Wait(); err == nil {
		t.Error("a second process was let in")
	}
	if text := read(t, g, "pids", "pids.events"); text == "max 0" {
		t.Errorf("pids.events = %q, want refused forks", text)
	}
}

func TestProcessorTimeIsLimitedAndCounted(t *testing.T) {
	m, top := real(t)
	g := create(t, m, top, &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(10000)), Period: ptr(uint64(100000))}})
	start(t, g, "while :; do :; done")
	time.Sleep(600 * time.Millisecond)
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.CPU == 0 || s.CPU > 250*time.Millisecond {
		t.Errorf("a tenth of a processor used %s in 0.6 s", s.CPU)
	}
	if s.PIDs != 1 || s.Memory == 0 {
		t.Errorf("Stats = %+v, want one process and its memory", s)
	}
}

func TestDevicesAreClosedUnlessOpened(t *testing.T) {
	m, top := real(t)
	dir := t.TempDir()
	for name, minor := range map[string]uint32{"null": 3, "kmsg": 11} {
		if err := unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR|0o600, int(unix.Mkdev(1, minor))); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := os.OpenFile(filepath.Join(dir, "null"), os.O_WRONLY, 0); err != nil {
		t.Skip("device nodes do not work in ", dir)
	} else {
		f.Close()
	}
	kmsg := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(11)), Access: "rw"}
	for name, tt := range map[string]struct {
		rules []specs.LinuxDeviceCgroup
		null  bool
		kmsg  bool
	}{
		"by default":                   {nil, true, false},
		"after all are closed":         {[]specs.LinuxDeviceCgroup{{Access: "rwm"}}, true, false},
		"when one is opened":           {[]specs.LinuxDeviceCgroup{{Access: "rwm"}, kmsg}, true, true},
		"when all are opened":          {[]specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}, true, true},
		"when all are closed later on": {[]specs.LinuxDeviceCgroup{{Allow: true, Type: "a", Access: "rwm"}, kmsg, {Access: "rwm"}}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := create(t, m, top+"/"+strings.ReplaceAll(name, " ", "-"), &specs.LinuxResources{Devices: tt.rules})
			for device, want := range map[string]bool{"null": tt.null, "kmsg": tt.kmsg} {
				err := start(t, g, "exec 2>&- 9<"+filepath.Join(dir, device)).Wait()
				if got := err == nil; got != want {
					t.Errorf("opening %s works: %v, want %v", device, got, want)
				}
			}
		})
	}
}

func TestKillReachesEveryProcess(t *testing.T) {
	m, top := real(t)
	g := create(t, m, top, nil)
	create(t, m, top+"/below", nil)
	below, err := m.Open(top + "/below")
	if err != nil {
		t.Fatal(err)
	}
	cmds := []*exec.Cmd{start(t, g, "sleep 100 & sleep 100 & wait"), start(t, below, "trap '' TERM; while :; do sleep 0.01; done")}
	var wait sync.WaitGroup
	for _, cmd := range cmds {
		wait.Go(func() { _ = cmd.Wait() })
	}
	for len(procs(t, g)) < 4 {
		time.Sleep(time.Millisecond)
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := procs(t, g); len(left) != 0 {
		t.Errorf("processes %v are left", left)
	}
	wait.Wait()
}

func TestClearKillsWhoHasNotJoinedEveryHierarchy(t *testing.T) {
	m, top := real(t)
	for i := range m.hierarchies {
		g := create(t, m, top+"/"+m.hierarchies[i].name, nil)
		cmd := exec.Command("sleep", "100")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		if err := writeFile(g.dir(&m.hierarchies[i]), "cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
		if err := m.Clear(t.Context(), g.Path()); err != nil {
			t.Errorf("in %s only: %v", m.hierarchies[i].name, err)
			continue
		}
		if err := <-ended; err == nil {
			t.Errorf("in %s only: it ended by itself", m.hierarchies[i].name)
		}
	}
}

func TestFrozenProcessesDoNothingUntilThawed(t *testing.T) {
	m, top := real(t)
	g := create(t, m, top, nil)
	start(t, g, "while :; do :; done")
	if err := g.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	used := func() time.Duration {
		s, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return s.CPU
	}
	before := used()
	time.Sleep(50 * time.Millisecond)
	if after := used(); after-before > 5*time.Millisecond {
		t.Errorf("a frozen group used %s", after-before)
	}
	if err := g.Thaw(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if after := used(); after == before {
		t.Error("a thawed group does nothing")
	}
}

func TestAnEmptyGroupInTheWayIsReplacedAndAUsedOneIsNot(t *testing.T) {
	m, top := real(t)
	create(t, m, top+"/web", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(5))}})
	g := create(t, m, top+"/web", nil)
	if got := read(t, g, "pids", "pids.max"); got != "max" {
		t.Errorf("pids.max = %s after the group was made anew", got)
	}
	start(t, g, "sleep 100")
	for len(procs(t, g)) == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := m.Create(t.Context(), top+"/web", nil); fault.Of(err) != fault.Exists {
		t.Errorf("Create of a group with a process = %v, want %v", err, fault.Exists)
	}
	if len(procs(t, g)) == 0 {
		t.Error("the process is gone")
	}
}

func TestAFailedCreateLeavesNothing(t *testing.T) {
	m, top := real(t)
	_, err := m.Create(t.Context(), top+"/a/b", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "4000"}})
	if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "cpu.cpus") {
		t.Errorf("Create = %v, want invalid cpu.cpus", err)
	}
	for _, h := range m.hierarchies {
		if exists(filepath.Join(h.dir, top)) {
			t.Errorf("%s is left in %s", top, h.dir)
		}
	}
}

func TestGroupsMadeAtOnceShareTheirParents(t *testing.T) {
	m, top := real(t)
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			g, err := m.Create(t.Context(), fmt.Sprintf("%s/x/y/%d", top, i), nil)
			if err != nil {
				t.Error(err)
				return
			}
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				if read(t, g, "cpuset", file) == "" {
					t.Errorf("a group has nothing in %s: no process can join it", file)
				}
			}
		})
	}
	wait.Wait()
}

func procs(t testing.TB, g *Group) []int {
	t.Helper()
	pids, err := g.Procs()
	if err != nil {
		t.Fatal(err)
	}
	return pids
}

func TestDeleteRemovesTheGroupEverywhereAndMayBeRepeated(t *testing.T) {
	m, top := real(t)
	g := create(t, m, top, nil)
	create(t, m, top+"/inner/most", nil)
	for range 2 {
		if err := g.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Open(top); fault.Of(err) != fault.NotFound {
		t.Errorf("Open of a deleted group = %v, want %v", err, fault.NotFound)
	}
	if _, err := g.Stats(); fault.Of(err) != fault.NotFound {
		t.Errorf("Stats of a deleted group = %v, want %v", err, fault.NotFound)
	}
	if !slices.ContainsFunc(m.hierarchies, func(h hierarchy) bool { return h.name == "memory" }) {
		t.Error("memory is not among the hierarchies")
	}
}

func TestAHybridMachineShowsItsV1SideOnly(t *testing.T) {
	m, top := real(t)
	if m.version != Hybrid {
		t.Skip("this machine has no hierarchy of v2 beside those of v1")
	}
	g := create(t, m, top, nil)
	shown := g.Shown()
	if dir, ok := shown["unified"]; ok {
		t.Errorf("Shown has %s", dir)
	}
	if _, ok := g.Mounts()["unified"]; !ok || len(shown) != len(g.Mounts())-1 || shown["memory"] == "" {
		t.Errorf("Shown = %v of %v; want all of v1", shown, g.Mounts())
	}
}

func BenchmarkCreate(b *testing.B) {
	m, top := real(b)
	res := &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(20000)), Period: ptr(uint64(100000))},
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(64 << 20))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(100))},
	}
	groups := make([]*Group, 0, 64)
	remove := func() {
		for _, g := range groups {
			if err := g.Delete(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		groups = groups[:0]
	}
	i := 0
	for b.Loop() {
		g, err := m.Create(context.Background(), fmt.Sprintf("%s/%d", top, i), res)
		if err != nil {
			b.Fatal(err)
		}
		groups = append(groups, g)
		if i++; len(groups) == cap(groups) {
			b.StopTimer()
			remove()
			b.StartTimer()
		}
	}
	remove()
}
