package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A setting is one value for one control file, and the field of the OCI
// specification that asks for it.
type setting struct {
	controller  string
	file, value string
	field       string
	initial     string // what a new group has: not written to one
	instead     string // a file of older or other kernels to write to where file is missing
	lenient     bool   // the value asks for nothing: fine where the file is missing
}

// A plan is what a specs.LinuxResources means on this machine.
type plan struct {
	settings []setting
	memory   *specs.LinuxMemory // v1: limits whose order depends on those in force
	devices  []rule
}

// plan checks resources and says what to write for them.
func (m *Manager) plan(res *specs.LinuxResources) (plan, error) {
	var p plan
	if res == nil {
		res = &specs.LinuxResources{}
	}
	if err := check(res); err != nil {
		return p, err
	}
	rules, err := parseDevices(res.Devices)
	if err != nil {
		return p, err
	}
	p.devices = rules
	if m.version == V2 {
		p.settings, err = v2Settings(res)
	} else {
		p.settings, err = v1Settings(res)
		p.memory = res.Memory
	}
	if err != nil {
		return p, err
	}
	p.settings = append(p.settings, rdmaSettings(res.Rdma)...)
	for _, s := range p.settings {
		if m.find(s.controller) == nil && !s.lenient {
			return p, fmt.Errorf("%s: this machine has no cgroup controller %s: %w", s.field, s.controller, fault.Unsupported)
		}
	}
	return p, nil
}

// apply writes a plan. A new group has initial values and needs devices closed
// even when no rule says so.
func (g *Group) apply(p plan, created bool) error {
	if created || len(p.devices) > 0 {
		if err := g.applyDevices(p.devices, created); err != nil {
			return err
		}
	}
	if p.memory != nil {
		if err := g.applyMemoryV1(p.memory, created); err != nil {
			return err
		}
	}
	var again []setting
	for _, s := range p.settings {
		h := g.m.find(s.controller)
		if h == nil || created && s.initial != "" && s.initial == s.value {
			continue
		}
		err := s.write(g.dir(h))
		if errors.Is(err, unix.EINVAL) && s.controller == "cpu" {
			// Quota, period and burst are checked against each other at each write:
			// what is wrong with the old ones may be right with the new.
			again = append(again, s)
			continue
		}
		if err != nil {
			return s.explain(err)
		}
	}
	for _, s := range again {
		if err := s.write(g.dir(g.m.find(s.controller))); err != nil {
			return s.explain(err)
		}
	}
	return nil
}

func (s setting) write(dir string) error {
	err := writeFile(dir, s.file, s.value)
	if err == unix.ENOENT && s.instead != "" {
		err = writeFile(dir, s.instead, s.value)
	}
	if err == unix.ENOENT && s.lenient {
		return nil
	}
	return err
}

// explain says what the kernel's refusal of a value means.
func (s setting) explain(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		switch errno {
		case unix.EINVAL, unix.ERANGE, unix.ENODEV, unix.EOVERFLOW:
			return fmt.Errorf("%s: the kernel refuses %q for %s: %w: %w", s.field, s.value, s.file, errno, fault.Invalid)
		case unix.ENOENT, unix.EOPNOTSUPP:
			return fmt.Errorf("%s: this kernel has no %s: %w: %w", s.field, s.file, errno, fault.Unsupported)
		case unix.EBUSY:
			return fmt.Errorf("%s: %q is less than what is in use: %w: %w", s.field, s.value, errno, fault.Precondition)
		}
	}
	return fmt.Errorf("%s: write %q to %s: %w", s.field, s.value, s.file, err)
}

// check refuses what no kernel could mean.
func check(res *specs.LinuxResources) error {
	bad := func(field string, value any, why string) error {
		return fmt.Errorf("%s: %v: %s: %w", field, value, why, fault.Invalid)
	}
	if mem := res.Memory; mem != nil {
		for _, limit := range []struct {
			field string
			value *int64
		}{{"memory.limit", mem.Limit}, {"memory.reservation", mem.Reservation}, {"memory.swap", mem.Swap}} {
			if limit.value != nil && *limit.value < -1 {
				return bad(limit.field, *limit.value, "less than -1, which is no limit")
			}
		}
		if mem.Swap != nil && *mem.Swap > 0 {
			if mem.Limit == nil || *mem.Limit == 0 {
				return bad("memory.swap", *mem.Swap, "it includes memory.limit, which is not set")
			}
			if *mem.Swap < *mem.Limit {
				return bad("memory.swap", *mem.Swap, fmt.Sprintf("less than memory.limit %d, which it includes", *mem.Limit))
			}
		}
		if mem.Swappiness != nil && *mem.Swappiness > 100 {
			return bad("memory.swappiness", *mem.Swappiness, "more than 100")
		}
	}
	if cpu := res.CPU; cpu != nil {
		if cpu.Idle != nil && *cpu.Idle != 0 && *cpu.Idle != 1 {
			return bad("cpu.idle", *cpu.Idle, "neither 0 nor 1")
		}
		if cpu.Quota != nil && *cpu.Quota < -1 {
			return bad("cpu.quota", *cpu.Quota, "less than -1, which is no limit")
		}
		if cpu.Period != nil && *cpu.Period != 0 && (*cpu.Period < 1000 || *cpu.Period > 1000000) {
			return bad("cpu.period", *cpu.Period, "not between 1000 and 1000000 microseconds")
		}
	}
	if io := res.BlockIO; io != nil && io.Weight != nil && *io.Weight != 0 && (*io.Weight < 10 || *io.Weight > 1000) {
		return bad("blockIO.weight", *io.Weight, "not between 10 and 1000")
	}
	for i, limit := range res.HugepageLimits {
		if limit.Pagesize == "" || filepath.Base(limit.Pagesize) != limit.Pagesize {
			return bad(fmt.Sprintf("hugepageLimits[%d].pageSize", i), fmt.Sprintf("%q", limit.Pagesize), "not a page size such as 2MB")
		}
	}
	for key := range res.Unified {
		if key == "" || filepath.Base(key) != key || key == "." || key == ".." {
			return bad("unified", fmt.Sprintf("%q", key), "not the name of a control file")
		}
	}
	return nil
}

// number prints a limit; word stands for what is not limited.
func number(n int64, word string) string {
	if n < 0 {
		return word
	}
	return strconv.FormatInt(n, 10)
}

// pidsMax prints a limit of processes. None at all would also keep out the
// container's first; runc and systemd take it for one, too.
func pidsMax(n int64) string {
	if n == 0 {
		return "1"
	}
	return number(n, "max")
}
