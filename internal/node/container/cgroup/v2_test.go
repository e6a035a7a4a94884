package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// What a new v2 group has, apart from limits that are written whole.
var v2Files = map[string]string{
	"cgroup.controllers": "cpuset cpu io memory hugetlb pids", "cgroup.subtree_control": "", "cgroup.procs": "", "cgroup.freeze": "0",
	"cgroup.events": "populated 0\nfrozen 0\n", "cgroup.kill": "", "cpu.weight": "100", "cpu.max": "max 100000", "cpu.max.burst": "0", "cpu.idle": "0",
	"cpu.stat": "usage_usec 2500000\nuser_usec 1\n", "cpuset.cpus": "", "cpuset.mems": "", "memory.max": "max", "memory.low": "0", "memory.high": "max",
	"memory.swap.max": "max", "memory.current": "104857600", "memory.swap.current": "4096", "memory.events": "low 0\noom 1\noom_kill 3\n",
	"memory.stat": "anon 50000000\ninactive_file 4857600\npgfault 7\npgmajfault 2\n", "pids.max": "max", "pids.current": "4", "io.max": "",
	"io.weight": "default 100", "io.stat": "8:0 rbytes=1000 wbytes=2000 rios=1\n8:16 rbytes=1 wbytes=2\n",
}

// fakeV2 returns a manager of a tree of ordinary files.
func fakeV2(t *testing.T) *Manager {
	t.Helper()
	root := t.TempDir()
	populate := func(dir string) error {
		for name, text := range v2Files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		return nil
	}
	if err := populate(root); err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	m.mkdir = func(dir string) error {
		if err := unix.Mkdir(dir, 0o755); err != nil {
			return err
		}
		return populate(dir)
	}
	m.devices = func(dir string, rules []rule) error {
		var text strings.Builder
		for _, r := range rules {
			text.WriteString(map[bool]string{true: "+", false: "-"}[r.allow] + r.String() + "\n")
		}
		return os.WriteFile(filepath.Join(dir, "devices"), []byte(text.String()), 0o644)
	}
	return m
}

func TestLimitsOnV2(t *testing.T) {
	rate := specs.LinuxThrottleDevice{Rate: 1 << 20}
	rate.Major, rate.Minor = 8, 16
	for name, tt := range map[string]struct {
		res  specs.LinuxResources
		want map[string]string
	}{
		"shares become a weight":             {specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(2048))}}, map[string]string{"cpu.weight": "174"}},
		"quota and period share a file":      {specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(5000)), Period: ptr(uint64(10000))}}, map[string]string{"cpu.max": "5000 10000"}},
		"a quota alone has the usual time":   {specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(5000))}}, map[string]string{"cpu.max": "5000 100000"}},
		"no quota is max":                    {specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-1)), Period: ptr(uint64(10000))}}, map[string]string{"cpu.max": "max 10000"}},
		"burst":                              {specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(5000)), Burst: ptr(uint64(100))}}, map[string]string{"cpu.max.burst": "100"}},
		"an idle group keeps its weight":     {specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(1)), Shares: ptr(uint64(2))}}, map[string]string{"cpu.idle": "1", "cpu.weight": "100"}},
		"processors and nodes":               {specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0-1", Mems: "0"}}, map[string]string{"cpuset.cpus": "0-1", "cpuset.mems": "0"}},
		"swap is what is beyond memory":      {specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(100)), Swap: ptr(int64(150))}}, map[string]string{"memory.max": "100", "memory.swap.max": "50"}},
		"swap as large as memory is none":    {specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(100)), Swap: ptr(int64(100))}}, map[string]string{"memory.max": "100", "memory.swap.max": "0"}},
		"a reservation is kept":              {specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: ptr(int64(64))}}, map[string]string{"memory.low": "64"}},
		"processes":                          {specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(9))}}, map[string]string{"pids.max": "9"}},
		"no process at all is one":           {specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(0))}}, map[string]string{"pids.max": "1"}},
		"a block device":                     {specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{rate}}}, map[string]string{"io.max": "8:16 rbps=1048576"}},
		"a weight of block devices":          {specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(500))}}, map[string]string{"io.weight": "4950"}},
		"keys of v2 are meant exactly":       {specs.LinuxResources{Unified: map[string]string{"memory.high": "77", "pids.max": "5"}, Pids: &specs.LinuxPids{Limit: ptr(int64(9))}}, map[string]string{"memory.high": "77", "pids.max": "5"}},
		"no huge pages where there are none": {specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "1GB"}}}, map[string]string{"memory.max": "max"}},
		"devices":                            {specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}, {Allow: true, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(229)), Access: "wr"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := fakeV2(t)
			g := create(t, m, "/pods/a", &tt.res)
			for file, want := range tt.want {
				if got, err := readFile(g.dir(m.primary()), file); err != nil || got != want {
					t.Errorf("%s = %q, %v; want %q", file, got, err, want)
				}
			}
			rules, err := readFile(g.dir(m.primary()), "devices")
			if err != nil || !strings.HasPrefix(rules, "-a *:* rwm\n") || !strings.HasSuffix(rules, "+c 5:2 rwm") {
				t.Errorf("device rules = %q, %v; want closed first and the defaults last", rules, err)
			}
			if len(tt.res.Devices) > 0 && !strings.Contains(rules, "+c 10:229 rw\n") {
				t.Errorf("device rules = %q, want 10:229 opened", rules)
			}
		})
	}
}

func TestUpdateBelowWhatIsInUseIsRefusedWhenAskedOnV2(t *testing.T) {
	m := fakeV2(t)
	g := create(t, m, "a", nil)
	below := &specs.LinuxMemory{Limit: ptr(int64(1 << 20)), CheckBeforeUpdate: ptr(true)}
	if err := g.Update(&specs.LinuxResources{Memory: below}); fault.Of(err) != fault.Precondition {
		t.Errorf("Update = %v, want %v", err, fault.Precondition)
	}
	if got := readOr(t, g.dir(m.primary()), "memory.max"); got != "max" {
		t.Errorf("memory.max = %s, want it untouched", got)
	}
	below.CheckBeforeUpdate = nil
	if err := g.Update(&specs.LinuxResources{Memory: below}); err != nil || readOr(t, g.dir(m.primary()), "memory.max") != "1048576" {
		t.Errorf("Update without the check = %v", err)
	}
}

func TestControllersAreSwitchedOnAllTheWayDownOnV2(t *testing.T) {
	m := fakeV2(t)
	create(t, m, "/a/b/c", nil)
	for _, dir := range []string{".", "a", "a/b"} {
		if got, want := readOr(t, filepath.Join(m.root, dir), "cgroup.subtree_control"), "+cpuset +cpu +io +memory +hugetlb +pids"; got != want {
			t.Errorf("%s: subtree_control = %q, want %q", dir, got, want)
		}
	}
	if got := readOr(t, filepath.Join(m.root, "a/b/c"), "cgroup.subtree_control"); got != "" {
		t.Errorf("the group itself has %q switched on for groups below it", got)
	}
}

func readOr(t *testing.T, dir, file string) string {
	t.Helper()
	text, err := readFile(dir, file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestStatsOnV2(t *testing.T) {
	m := fakeV2(t)
	g := create(t, m, "a", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(1 << 30))}})
	got, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	want := Stats{Time: got.Time, CPU: 2500 * time.Millisecond, Memory: 104857600, WorkingSet: 100000000, RSS: 50000000, PageFaults: 7,
		MajorPageFaults: 2, MemoryLimit: 1 << 30, PIDs: 4, IOReadBytes: 1001, IOWriteBytes: 2002, Swap: 4096}
	if got != want {
		t.Errorf("Stats = %+v\nwant    %+v", got, want)
	}
	if n, err := g.OOMKills(); err != nil || n != 3 {
		t.Errorf("OOMKills = %d, %v; want 3", n, err)
	}
}

func TestWatchOOMFollowsTheCountOnV2(t *testing.T) {
	m := fakeV2(t)
	g := create(t, m, "a", nil)
	watch, err := g.WatchOOM(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := <-watch; n != 3 {
		t.Errorf("first told of %d kills, want 3", n)
	}
	if err := writeFile(g.dir(m.primary()), "memory.events", "oom_kill 4\n"); err != nil {
		t.Fatal(err)
	}
	if n := <-watch; n != 4 {
		t.Errorf("then told of %d kills, want 4", n)
	}
}

func TestFreezeAndKillOnV2(t *testing.T) {
	m := fakeV2(t)
	g := create(t, m, "a", nil)
	dir := g.dir(m.primary())
	if err := os.WriteFile(filepath.Join(dir, "cgroup.events"), []byte("populated 1\nfrozen 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := g.Freeze(t.Context()); err != nil || readOr(t, dir, "cgroup.freeze") != "1" {
		t.Errorf("Freeze = %v, cgroup.freeze = %q", err, readOr(t, dir, "cgroup.freeze"))
	}
	if err := g.Thaw(); err != nil || readOr(t, dir, "cgroup.freeze") != "0" {
		t.Errorf("Thaw = %v, cgroup.freeze = %q", err, readOr(t, dir, "cgroup.freeze"))
	}
	if err := g.Kill(t.Context()); err != nil || readOr(t, dir, "cgroup.kill") != "1" {
		t.Errorf("Kill = %v, cgroup.kill = %q", err, readOr(t, dir, "cgroup.kill"))
	}
}

func TestResourcesThatMakeNoSenseAreRefusedByName(t *testing.T) {
	for name, tt := range map[string]struct {
		res   specs.LinuxResources
		kind  fault.Kind
		field string
	}{
		"swap below memory":            {specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(10)), Swap: ptr(int64(5))}}, fault.Invalid, "memory.swap"},
		"swap without memory":          {specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: ptr(int64(5))}}, fault.Invalid, "memory.swap"},
		"a negative limit":             {specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-2))}}, fault.Invalid, "memory.limit"},
		"a negative reservation":       {specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: ptr(int64(-5))}}, fault.Invalid, "memory.reservation"},
		"too much swappiness":          {specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: ptr(uint64(101))}}, fault.Invalid, "memory.swappiness"},
		"an idle that is neither":      {specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(2))}}, fault.Invalid, "cpu.idle"},
		"a period of no length":        {specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(10))}}, fault.Invalid, "cpu.period"},
		"a negative quota":             {specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-7))}}, fault.Invalid, "cpu.quota"},
		"too little weight":            {specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(5))}}, fault.Invalid, "blockIO.weight"},
		"a page size that is a path":   {specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../x"}}}, fault.Invalid, "hugepageLimits[0].pageSize"},
		"huge pages that do not exist": {specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1}}}, fault.Unsupported, "hugepageLimits[0]"},
		"a key that is a path":         {specs.LinuxResources{Unified: map[string]string{"../memory.max": "1"}}, fault.Invalid, "unified"},
		"a key that is no limit":       {specs.LinuxResources{Unified: map[string]string{"cgroup.procs": "1"}}, fault.Invalid, "unified"},
		"a key of no controller":       {specs.LinuxResources{Unified: map[string]string{"misc.max": "1"}}, fault.Unsupported, "unified.misc.max"},
		"a key that is not there":      {specs.LinuxResources{Unified: map[string]string{"memory.other": "1"}}, fault.Unsupported, "unified.memory.other"},
		"a device of an unknown type":  {specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "x"}}}, fault.Invalid, "devices[0].type"},
		"a device of unknown access":   {specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rx"}}}, fault.Invalid, "devices[0].access"},
		"a device with a bad number":   {specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "c", Major: ptr(int64(-3))}}}, fault.Invalid, "devices[0].major"},
		"realtime, which v2 lacks":     {specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: ptr(int64(5))}}, fault.Unsupported, "cpu.realtimeRuntime"},
		"tcp buffers, which v2 lacks":  {specs.LinuxResources{Memory: &specs.LinuxMemory{KernelTCP: ptr(int64(5))}}, fault.Unsupported, "memory.kernelTCP"},
		"no killing, which v2 lacks":   {specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(true)}}, fault.Unsupported, "memory.disableOOMKiller"},
		"network, which v2 lacks":      {specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(5))}}, fault.Unsupported, "network"},
	} {
		t.Run(name, func(t *testing.T) {
			m := fakeV2(t)
			_, err := m.Create(t.Context(), "a/b", &tt.res)
			if fault.Of(err) != tt.kind || !strings.Contains(err.Error(), ": "+tt.field) {
				t.Errorf("Create = %v; want %s: … %s", err, tt.field, tt.kind)
			}
		})
	}
}

func TestPathsThatLeadElsewhereAreRefused(t *testing.T) {
	m := fakeV2(t)
	for _, path := range []string{"", "/", ".", "//", "../a", "/a/../b", "a\nb"} {
		if _, err := m.Create(t.Context(), path, nil); fault.Of(err) != fault.Invalid {
			t.Errorf("Create(%q) = %v, want %v", path, err, fault.Invalid)
		}
	}
}

func TestAMachineWithoutControllersIsRefusedByName(t *testing.T) {
	root := t.TempDir()
	if _, err := New(Config{Root: root}); fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "cpu, memory, devices, freezer, pids") {
		t.Errorf("New of an empty tree = %v, want all missing controllers named", err)
	}
	if err := os.WriteFile(filepath.Join(root, "cgroup.controllers"), []byte("cpu io\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Root: root}); fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "controllers memory, pids,") {
		t.Errorf("New of a v2 tree with two = %v, want the missing ones named", err)
	}
}

// Controllers that share a hierarchy have links on most machines.
func TestControllersThatShareAHierarchyAreFoundOnce(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"cpu,cpuacct", "memory", "devices", "freezer", "pids"} {
		if err := errors.Join(os.Mkdir(filepath.Join(root, dir), 0o755), os.WriteFile(filepath.Join(root, dir, "tasks"), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("cpu,cpuacct", filepath.Join(root, "cpu")), os.Symlink("cpu,cpuacct", filepath.Join(root, "cpuacct"))); err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if h := m.find("cpuacct"); h == nil || h != m.find("cpu") || h.name != "cpu,cpuacct" || len(m.hierarchies) != 5 {
		t.Errorf("hierarchies = %+v, want cpu,cpuacct as one of five", m.hierarchies)
	}
	if m.Version() != V1 {
		t.Errorf("Version = %s, want %s", m.Version(), V1)
	}
}

func TestOpenOfAnUnknownGroup(t *testing.T) {
	if _, err := fakeV2(t).Open("/a/b"); fault.Of(err) != fault.NotFound || errors.Is(err, fs.ErrExist) {
		t.Errorf("Open = %v, want %v", err, fault.NotFound)
	}
}
