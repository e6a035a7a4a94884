package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// resources decides the container's limits.
func (b *builder) resources(context.Context) error {
	r := b.rec.Config.Resources
	if r == nil {
		return nil
	}
	if err := b.engine.checkResources(r); err != nil {
		return err
	}
	adj := int(r.OOMScoreAdj)
	b.spec.Process.OOMScoreAdj = &adj
	devices := b.linuxResources().Devices
	b.spec.Linux.Resources = b.engine.limits(r)
	b.spec.Linux.Resources.Devices = devices
	return nil
}

// limits puts resources into the words of the runtime specification. What is
// zero is left out and stays as it is.
func (e *Engine) limits(r *Resources) *specs.LinuxResources {
	res := &specs.LinuxResources{Unified: r.Unified}
	if r.CPUPeriod != 0 || r.CPUQuota != 0 || r.CPUShares != 0 || r.CPUs != "" || r.Mems != "" {
		res.CPU = &specs.LinuxCPU{Cpus: r.CPUs, Mems: r.Mems}
		if r.CPUPeriod != 0 {
			period := uint64(r.CPUPeriod)
			res.CPU.Period = &period
		}
		if r.CPUQuota != 0 {
			res.CPU.Quota = &r.CPUQuota
		}
		if r.CPUShares != 0 {
			shares := uint64(r.CPUShares)
			res.CPU.Shares = &shares
		}
	}
	if r.Memory != 0 {
		res.Memory = &specs.LinuxMemory{Limit: &r.Memory}
		if e.machine.swapLimits {
			// Without a limit of its own, swap would let a container use twice its memory.
			swap := r.Swap
			if swap == 0 {
				swap = r.Memory
			}
			res.Memory.Swap = &swap
		}
	}
	for _, h := range r.HugePages {
		res.HugepageLimits = append(res.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: h.Size, Limit: h.Limit})
	}
	return res
}

func (e *Engine) checkResources(r *Resources) error {
	for _, f := range []struct {
		name  string
		value int64
		least int64
	}{
		{"cpu_period", r.CPUPeriod, 0}, {"cpu_quota", r.CPUQuota, -1}, {"cpu_shares", r.CPUShares, 0},
		{"memory_limit_in_bytes", r.Memory, -1}, {"memory_swap_limit_in_bytes", r.Swap, -1},
	} {
		if f.value < f.least {
			return fmt.Errorf("resources.%s: %d: %w", f.name, f.value, fault.Invalid)
		}
	}
	switch {
	case r.CPUPeriod != 0 && (r.CPUPeriod < 1000 || r.CPUPeriod > 1_000_000):
		return fmt.Errorf("resources.cpu_period: %d is not between 1000 and 1000000 microseconds: %w", r.CPUPeriod, fault.Invalid)
	case r.OOMScoreAdj < -1000 || r.OOMScoreAdj > 1000:
		return fmt.Errorf("resources.oom_score_adj: %d is not between -1000 and 1000: %w", r.OOMScoreAdj, fault.Invalid)
	case r.Swap > 0 && r.Memory > 0 && r.Swap < r.Memory:
		return fmt.Errorf("resources.memory_swap_limit_in_bytes: %d is below memory_limit_in_bytes %d: %w", r.Swap, r.Memory, fault.Invalid)
	case len(r.Unified) > 0 && !e.machine.unified:
		return fmt.Errorf("resources.unified: this machine does not run on cgroup v2 alone: %w", fault.Precondition)
	}
	for key := range r.Unified {
		if strings.Contains(key, "/") || !strings.Contains(key, ".") {
			return fmt.Errorf("resources.unified: %q is not the name of a cgroup file: %w", key, fault.Invalid)
		}
	}
	for name, list := range map[string]string{"cpuset_cpus": r.CPUs, "cpuset_mems": r.Mems} {
		if err := checkSet(list); err != nil {
			return fmt.Errorf("resources.%s: %w", name, err)
		}
	}
	for i, h := range r.HugePages {
		if err := checkHugePage(h); err != nil {
			return fmt.Errorf("resources.hugepage_limits[%d]: %w", i, err)
		}
	}
	return nil
}

// checkSet refuses what is not a list like 0-3,6.
func checkSet(list string) error {
	if list == "" {
		return nil
	}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(from, 10, 16)
		b := a
		if err == nil && isRange {
			b, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || b < a {
			return fmt.Errorf("%q is not a list like 0-3,6: %w", list, fault.Invalid)
		}
	}
	return nil
}

// checkHugePage refuses a size that this kernel does not have; a limit of zero
// on such a size is true already.
func checkHugePage(h HugePage) error {
	units := map[string]uint64{"KB": 1, "MB": 1 << 10, "GB": 1 << 20}
	if len(h.Size) < 3 {
		return fmt.Errorf("page_size %q: %w", h.Size, fault.Invalid)
	}
	n, err := strconv.ParseUint(h.Size[:len(h.Size)-2], 10, 32)
	unit := units[h.Size[len(h.Size)-2:]]
	if err != nil || unit == 0 {
		return fmt.Errorf("page_size %q is not like 2MB or 1GB: %w", h.Size, fault.Invalid)
	}
	dir := fmt.Sprintf("hugepages-%dkB", n*unit)
	if h.Limit > 0 && !exists(filepath.Join("/sys/kernel/mm/hugepages", dir)) {
		return fmt.Errorf("page_size %s: not in this kernel: %w", h.Size, fault.Precondition)
	}
	return nil
}

// UpdateContainer changes the limits of a container, also while it runs.
func (e *Engine) UpdateContainer(ctx context.Context, owner, id string, r Resources) error {
	c, err := e.findContainer(owner, id)
	if err != nil {
		return err
	}
	if err := e.checkResources(&r); err != nil {
		return fmt.Errorf("update container %s: %w", id, err)
	}
	c.op.Lock()
	defer c.op.Unlock()
	rec := c.get()
	merged := mergeResources(rec.Resources, r)
	switch rec.State {
	case Exited:
		return fmt.Errorf("update container %s: it has ended: %w", rec.ID, fault.Precondition)
	case Created:
		c.spec = nil
		err = e.updateSpec(&rec, merged)
	default:
		err = e.parts.Runtime.Update(ctx, rec.ID, e.limits(&r))
	}
	if err != nil {
		return fmt.Errorf("update container %s: %w", rec.ID, err)
	}
	c.mu.Lock()
	c.rec.Resources = merged
	rec = c.rec.clone()
	c.mu.Unlock()
	return e.records.saveContainer(&rec)
}

func (e *Engine) updateSpec(rec *Container, r *Resources) error {
	spec, err := e.records.loadSpec(rec)
	if err != nil {
		return err
	}
	res := e.limits(r)
	if old := spec.OCI.Linux.Resources; old != nil {
		res.Devices = old.Devices
	}
	spec.OCI.Linux.Resources = res
	return e.records.saveSpec(rec.PodID, &spec)
}

// mergeResources changes what r gives and keeps the rest.
func mergeResources(old *Resources, r Resources) *Resources {
	m := Resources{}
	if old != nil {
		m = *old
	}
	set := func(to *int64, v int64) {
		if v != 0 {
			*to = v
		}
	}
	set(&m.CPUPeriod, r.CPUPeriod)
	set(&m.CPUQuota, r.CPUQuota)
	set(&m.CPUShares, r.CPUShares)
	set(&m.Memory, r.Memory)
	set(&m.Swap, r.Swap)
	set(&m.OOMScoreAdj, r.OOMScoreAdj)
	if r.CPUs != "" {
		m.CPUs = r.CPUs
	}
	if r.Mems != "" {
		m.Mems = r.Mems
	}
	if len(r.HugePages) > 0 {
		m.HugePages = r.HugePages
	}
	if len(r.Unified) > 0 {
		m.Unified = r.Unified
	}
	return &m
}
