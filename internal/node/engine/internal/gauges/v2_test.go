package gauges

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A machine with cgroup v2 has one directory and other names in it.
func TestAUnifiedGroup(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cpu.stat":            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 7\nnr_throttled 3\nthrottled_usec 5\n",
		"memory.stat":         "anon 100\nfile 200\nkernel 30\nfile_mapped 40\npgfault 5\npgmajfault 1\nactive_file 60\ninactive_file 70\n",
		"memory.swap.current": "8\n",
		"memory.peak":         "900\n",
		"memory.events":       "low 0\nhigh 0\nmax 4\noom 3\noom_kill 2\noom_group_kill 0\n",
		"io.stat":             "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
		"pids.max":            "max\n",
		"cgroup.procs":        "1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var s Sample
	g := group{"": dir}
	s.cpu(g)
	s.memory(g)
	s.disks(g)
	s.processes(g)
	us := time.Microsecond
	if s.CPUUser != 20*us || s.CPUSystem != 10*us || s.ThrottledTime != 5*us || s.Periods != 7 || s.Throttled != 3 {
		t.Errorf("cpu = %+v", s)
	}
	if s.RSS != 100 || s.Cache != 200 || s.Kernel != 30 || s.Mapped != 40 || s.Swap != 8 || s.MaxMemory != 900 || s.InactiveFile != 70 {
		t.Errorf("memory = %+v", s)
	}
	if s.Failures != 4 || s.OOMKills != 2 {
		t.Errorf("limits hit %d times, kills %d; want 4 and 2", s.Failures, s.OOMKills)
	}
	if len(s.Disks) != 1 || s.Disks[0] != (Disk{Major: "8", Minor: "0", ReadBytes: 4096, WriteBytes: 8192, Reads: 1, WriteCount: 2}) {
		t.Errorf("disks = %+v", s.Disks)
	}
	if s.Processes != 1 || s.MaxThreads != 0 {
		t.Errorf("%d processes, at most %d threads; want 1 and no limit", s.Processes, s.MaxThreads)
	}
}
