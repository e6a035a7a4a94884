package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Stats is what a group and those below it have used.
type Stats struct {
	Time            time.Time
	CPU             time.Duration // total processor time
	Memory          uint64        // bytes charged
	WorkingSet      uint64        // Memory without what the kernel can drop at once
	RSS             uint64
	PageFaults      uint64
	MajorPageFaults uint64
	MemoryLimit     uint64 // 0: none
	PIDs            uint64
	IOReadBytes     uint64
	IOWriteBytes    uint64
	Swap            uint64
}

// Stats reads what the group has used. What the machine does not count is zero.
func (g *Group) Stats() (Stats, error) {
	s := Stats{Time: time.Now()}
	read := g.statsV1
	if g.m.version == V2 {
		read = g.statsV2
	}
	if err := read(&s); err != nil {
		if !exists(g.dir(g.m.primary())) {
			err = fs.ErrNotExist
		}
		return Stats{}, fmt.Errorf("stats of cgroup %s: %w", g.Path(), err)
	}
	return s, nil
}

func (g *Group) statsV1(s *Stats) error {
	var inactive uint64
	values := []struct {
		controller, file string
		to               *uint64
	}{
		{"memory", "memory.usage_in_bytes", &s.Memory},
		{"memory", "memory.limit_in_bytes", &s.MemoryLimit},
		{"pids", "pids.current", &s.PIDs},
		{"cpuacct", "cpuacct.usage", (*uint64)(nil)},
	}
	for _, v := range values {
		h := g.m.find(v.controller)
		if h == nil {
			continue
		}
		n, err := readUint(g.dir(h), v.file)
		if err != nil {
			return err
		}
		if v.to == nil {
			s.CPU = time.Duration(n)
			continue
		}
		*v.to = n
	}
	if s.MemoryLimit >= unlimited {
		s.MemoryLimit = 0
	}
	err := readKeys(g.dir(g.m.find("memory")), "memory.stat", func(key string, n uint64) {
		switch key {
		case "total_inactive_file":
			inactive = n
		case "total_rss":
			s.RSS = n
		case "total_swap":
			s.Swap = n
		case "total_pgfault":
			s.PageFaults = n
		case "total_pgmajfault":
			s.MajorPageFaults = n
		}
	})
	if err != nil {
		return err
	}
	s.WorkingSet = s.Memory - min(s.Memory, inactive)
	h := g.m.find("blkio")
	if h == nil {
		return nil
	}
	text, err := readFile(g.dir(h), "blkio.throttle.io_service_bytes_recursive")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for line := range strings.Lines(text) {
		// "8:0 Read 4096", and a total at the end
		if f := strings.Fields(line); len(f) == 3 {
			n, _ := strconv.ParseUint(f[2], 10, 64)
			switch f[1] {
			case "Read":
				s.IOReadBytes += n
			case "Write":
				s.IOWriteBytes += n
			}
		}
	}
	return nil
}

func (g *Group) statsV2(s *Stats) (err error) {
	dir := g.dir(g.m.primary())
	if s.Memory, err = readUint(dir, "memory.current"); err != nil {
		return err
	}
	text, err := readFile(dir, "memory.max")
	if err != nil {
		return err
	}
	if s.MemoryLimit, err = parseMax(text); err != nil {
		return err
	}
	if s.PIDs, err = readUint(dir, "pids.current"); err != nil {
		return err
	}
	// Kernels without swap have no such file.
	if s.Swap, err = readUint(dir, "memory.swap.current"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = readKeys(dir, "cpu.stat", func(key string, n uint64) {
		if key == "usage_usec" {
			s.CPU = time.Duration(n) * time.Microsecond
		}
	})
	if err != nil {
		return err
	}
	var inactive uint64
	err = readKeys(dir, "memory.stat", func(key string, n uint64) {
		switch key {
		case "inactive_file":
			inactive = n
		case "anon":
			s.RSS = n
		case "pgfault":
			s.PageFaults = n
		case "pgmajfault":
			s.MajorPageFaults = n
		}
	})
	if err != nil {
		return err
	}
	s.WorkingSet = s.Memory - min(s.Memory, inactive)
	text, err = readFile(dir, "io.stat")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for field := range strings.FieldsSeq(text) {
		// "8:0 rbytes=4096 wbytes=0 …"
		key, value, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch key {
		case "rbytes":
			s.IOReadBytes += n
		case "wbytes":
			s.IOWriteBytes += n
		}
	}
	return nil
}
