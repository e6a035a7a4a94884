package gauges

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sample is what a container's processes have used, and use now.
type Sample struct {
	CPUUser, CPUSystem time.Duration
	Periods, Throttled uint64 // of the processor limit
	ThrottledTime      time.Duration

	Cache, RSS, Kernel, Mapped, Swap uint64
	MaxMemory                        uint64 // the most ever used
	Failures                         uint64 // how often a limit was hit
	OOMKills                         uint64
	PageFaults, MajorFaults          uint64 // of the group itself
	ActiveFile, InactiveFile         uint64

	Disks []Disk

	Processes, Threads, Files, Sockets uint64
	MaxThreads                         uint64 // 0: no limit
}

// Disk is what was read from and written to a device.
type Disk struct {
	Major, Minor                             string
	ReadBytes, WriteBytes, Reads, WriteCount uint64
}

// userHZ is the unit of cpuacct.stat; it is 100 on every Linux.
const userHZ = 100

// Read takes a sample of the container whose process pid is.
func Read(pid int) (Sample, error) {
	g, err := findGroup(pid)
	if err != nil {
		return Sample{}, fmt.Errorf("gauges of process %d: %w", pid, err)
	}
	var s Sample
	s.cpu(g)
	s.memory(g)
	s.disks(g)
	s.processes(g)
	return s, nil
}

func (s *Sample) cpu(g group) {
	if !g.v1("cpuacct") {
		st := g.keyed("cpu", "cpu.stat")
		us := func(key string) time.Duration { return time.Duration(st[key]) * time.Microsecond }
		s.CPUUser, s.CPUSystem, s.ThrottledTime = us("user_usec"), us("system_usec"), us("throttled_usec")
		s.Periods, s.Throttled = st["nr_periods"], st["nr_throttled"]
		return
	}
	acct, st := g.keyed("cpuacct", "cpuacct.stat"), g.keyed("cpu", "cpu.stat")
	ticks := func(key string) time.Duration { return time.Duration(acct[key]) * time.Second / userHZ }
	s.CPUUser, s.CPUSystem = ticks("user"), ticks("system")
	s.Periods, s.Throttled, s.ThrottledTime = st["nr_periods"], st["nr_throttled"], time.Duration(st["throttled_time"])
}

func (s *Sample) memory(g group) {
	st := g.keyed("memory", "memory.stat")
	s.PageFaults, s.MajorFaults = st["pgfault"], st["pgmajfault"]
	s.ActiveFile, s.InactiveFile = st["active_file"], st["inactive_file"]
	if !g.v1("memory") {
		s.Cache, s.RSS, s.Kernel, s.Mapped = st["file"], st["anon"], st["kernel"], st["file_mapped"]
		s.Swap, s.MaxMemory = g.number("memory", "memory.swap.current"), g.number("memory", "memory.peak")
		ev := g.keyed("memory", "memory.events")
		s.Failures, s.OOMKills = ev["max"], ev["oom_kill"]
		return
	}
	s.Cache, s.RSS, s.Mapped, s.Swap = st["cache"], st["rss"], st["mapped_file"], st["swap"]
	s.Kernel = g.number("memory", "memory.kmem.usage_in_bytes")
	s.MaxMemory = g.number("memory", "memory.max_usage_in_bytes")
	s.Failures = g.number("memory", "memory.failcnt")
	s.OOMKills = g.keyed("memory", "memory.oom_control")["oom_kill"]
}

func (s *Sample) disks(g group) {
	byDevice := map[string]*Disk{}
	at := func(device string) *Disk {
		major, minor, _ := strings.Cut(device, ":")
		if byDevice[device] == nil {
			byDevice[device] = &Disk{Major: major, Minor: minor}
		}
		return byDevice[device]
	}
	if g.v1("blkio") {
		for line := range strings.Lines(g.read("blkio", "blkio.throttle.io_service_bytes")) {
			if f := strings.Fields(line); len(f) == 3 {
				add(f, &at(f[0]).ReadBytes, &at(f[0]).WriteBytes)
			}
		}
		for line := range strings.Lines(g.read("blkio", "blkio.throttle.io_serviced")) {
			if f := strings.Fields(line); len(f) == 3 {
				add(f, &at(f[0]).Reads, &at(f[0]).WriteCount)
			}
		}
	} else {
		for line := range strings.Lines(g.read("io", "io.stat")) {
			f := strings.Fields(line)
			for i := 1; i < len(f); i++ {
				key, value, _ := strings.Cut(f[i], "=")
				d := at(f[0])
				switch key {
				case "rbytes":
					d.ReadBytes = number(value)
				case "wbytes":
					d.WriteBytes = number(value)
				case "rios":
					d.Reads = number(value)
				case "wios":
					d.WriteCount = number(value)
				}
			}
		}
	}
	for _, d := range byDevice {
		s.Disks = append(s.Disks, *d)
	}
}

func add(f []string, read, write *uint64) {
	switch f[1] {
	case "Read":
		*read = number(f[2])
	case "Write":
		*write = number(f[2])
	}
}

// processes counts. Those that end meanwhile are left out.
func (s *Sample) processes(g group) {
	s.MaxThreads = g.number("pids", "pids.max")
	for _, pid := range g.pids() {
		s.Processes++
		if tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)); err == nil {
			s.Threads += uint64(len(tasks))
		}
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		files, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		s.Files += uint64(len(files))
		for _, f := range files {
			if to, err := os.Readlink(dir + "/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
				s.Sockets++
			}
		}
	}
}

// Space is a filesystem's.
type Space struct {
	Bytes, Inodes, FreeInodes uint64
}

// ReadSpace tells about the filesystem that dir is on.
func ReadSpace(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, fmt.Errorf("filesystem of %s: %w", dir, err)
	}
	return Space{Bytes: st.Blocks * uint64(st.Bsize), Inodes: st.Files, FreeInodes: st.Ffree}, nil
}
