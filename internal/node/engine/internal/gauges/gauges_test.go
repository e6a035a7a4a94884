package gauges

import (
	"os"
	"testing"
)

func TestReadSeesOwnProcess(t *testing.T) {
	s, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if s.Processes == 0 || s.Threads == 0 || s.Files == 0 {
		t.Errorf("Read = %d processes, %d threads, %d files; want at least one of each", s.Processes, s.Threads, s.Files)
	}
}

func TestMountPoints(t *testing.T) {
	got := mountPoints("30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n" +
		"31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n")
	for controller, want := range map[string]string{
		"": "/sys/fs/cgroup/unified", "cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "memory": "",
	} {
		if got[controller] != want {
			t.Errorf("%q is mounted at %q, want %q", controller, got[controller], want)
		}
	}
}
