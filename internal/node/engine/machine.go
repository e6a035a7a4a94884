package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is what this kernel offers. It is read once.
type machine struct {
	caps       []string // capabilities that the engine itself has, and so can give
	apparmor   bool
	selinux    bool
	unified    bool // cgroup v2 only
	swapLimits bool
}

func readMachine() (machine, error) {
	caps, err := ownCaps()
	if err != nil {
		return machine{}, err
	}
	m := machine{caps: caps}
	if b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil {
		m.apparmor = strings.HasPrefix(string(b), "Y")
	}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		m.selinux = true
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err == nil {
		m.unified = fs.Type == unix.CGROUP2_SUPER_MAGIC
	}
	_, err = os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
	m.swapLimits = m.unified || err == nil
	return m, nil
}

// ownCaps returns the names of the capabilities in our bounding set: no process
// of ours can have more.
func ownCaps() ([]string, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, fmt.Errorf("own capabilities: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		v, ok := strings.CutPrefix(line, "CapBnd:")
		if !ok {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("own capabilities: %w", err)
		}
		var caps []string
		for i, name := range capNames {
			if mask&(1<<i) != 0 {
				caps = append(caps, name)
			}
		}
		return caps, nil
	}
	return nil, fmt.Errorf("own capabilities: no CapBnd in /proc/self/status")
}
