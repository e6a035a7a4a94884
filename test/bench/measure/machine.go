package measure

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine says where and when figures come from.
type Machine struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	MemoryGB int               `json:"memoryGB"`
	Kernel   string            `json:"kernel"`
	Cgroup   string            `json:"cgroup"`
	Load     string            `json:"load"` // before the run: 1, 5 and 15 minutes
	Date     time.Time         `json:"date"`
	Programs map[string]string `json:"programs"` // contestants' versions
}

// ThisMachine asks the machine.
func ThisMachine() (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Date: time.Now().UTC().Truncate(time.Second), Programs: map[string]string{}, Cgroup: "v1 or hybrid"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return m, fmt.Errorf("uname: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(u.Release[:]) + " " + runtime.GOARCH
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return m, fmt.Errorf("sysinfo: %w", err)
	}
	m.MemoryGB = int(s.Totalram * uint64(s.Unit) >> 30)
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, err
	}
	m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(cpu)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	var fs unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		m.Cgroup = "v2"
	}
	return m, nil
}

// Version notes the first line that a program prints about its version.
func (m *Machine) Version(who, program string, args ...string) {
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		m.Programs[who] = err.Error()
		return
	}
	m.Programs[who] = firstLine(string(out))
}

// String is the line above a table.
func (m Machine) String() string {
	cpu := m.CPU
	if cpu == "" {
		cpu = "unnamed CPU"
	}
	return fmt.Sprintf("%s, %d cores, %d GB, Linux %s, cgroup %s, load %s, %s",
		cpu, m.Cores, m.MemoryGB, m.Kernel, m.Cgroup, m.Load, m.Date.Format(time.RFC3339))
}
