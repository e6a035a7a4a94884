package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// v2Settings says what to write on a v2 machine. What only v1 has is refused,
// or converted as runc does.
func v2Settings(res *specs.LinuxResources) ([]setting, error) {
	var all []setting
	add := func(controller, file, value, field, initial string) {
		all = append(all, setting{controller: controller, file: file, value: value, field: field, initial: initial})
	}
	if cpu := res.CPU; cpu != nil {
		if cpu.RealtimePeriod != nil && *cpu.RealtimePeriod != 0 || cpu.RealtimeRuntime != nil && *cpu.RealtimeRuntime != 0 {
			return nil, fmt.Errorf("cpu.realtimeRuntime and cpu.realtimePeriod: cgroup v2 has no such limit: %w", fault.Unsupported)
		}
		if cpu.Idle != nil {
			add("cpu", "cpu.idle", strconv.FormatInt(*cpu.Idle, 10), "cpu.idle", "0")
		}
		// An idle group's weight is fixed.
		if cpu.Shares != nil && *cpu.Shares != 0 && (cpu.Idle == nil || *cpu.Idle == 0) {
			add("cpu", "cpu.weight", strconv.FormatUint(cgroups.ConvertCPUSharesToCgroupV2Value(*cpu.Shares), 10), "cpu.shares", "100")
		}
		if value := cpuMax(cpu); value != "" {
			add("cpu", "cpu.max", value, "cpu.quota", "max 100000")
		}
		if cpu.Burst != nil {
			add("cpu", "cpu.max.burst", strconv.FormatUint(*cpu.Burst, 10), "cpu.burst", "0")
		}
		if cpu.Cpus != "" {
			add("cpuset", "cpuset.cpus", cpu.Cpus, "cpu.cpus", "")
		}
		if cpu.Mems != "" {
			add("cpuset", "cpuset.mems", cpu.Mems, "cpu.mems", "")
		}
	}
	if res.Memory != nil {
		settings, err := v2Memory(res.Memory)
		if err != nil {
			return nil, err
		}
		all = append(all, settings...)
	}
	if res.Pids != nil && res.Pids.Limit != nil {
		add("pids", "pids.max", pidsMax(*res.Pids.Limit), "pids.limit", "max")
	}
	for i, limit := range res.HugepageLimits {
		for _, file := range []string{"max", "rsvd.max"} {
			all = append(all, setting{controller: "hugetlb", file: "hugetlb." + limit.Pagesize + "." + file, value: strconv.FormatUint(limit.Limit, 10),
				field: fmt.Sprintf("hugepageLimits[%d]", i), lenient: limit.Limit == 0 || file != "max"})
		}
	}
	if io := res.BlockIO; io != nil {
		all = append(all, v2BlockIO(io)...)
	}
	if net := res.Network; net != nil && (net.ClassID != nil && *net.ClassID != 0 || len(net.Priorities) > 0) {
		return nil, fmt.Errorf("network: cgroup v2 has no such setting: %w", fault.Unsupported)
	}
	// The specification's own keys come last: they are meant exactly.
	for _, key := range slices.Sorted(maps.Keys(res.Unified)) {
		controller, _, _ := strings.Cut(key, ".")
		if controller == "cgroup" {
			return nil, fmt.Errorf("unified: %s is not a limit: %w", key, fault.Invalid)
		}
		for line := range strings.Lines(res.Unified[key]) {
			add(controller, key, strings.TrimSuffix(line, "\n"), "unified."+key, "")
		}
	}
	return all, nil
}

// cpuMax joins quota and period, which v2 has in one file.
func cpuMax(cpu *specs.LinuxCPU) string {
	quota, period := "max", uint64(100000)
	if cpu.Quota != nil && *cpu.Quota > 0 {
		quota = strconv.FormatInt(*cpu.Quota, 10)
	}
	if cpu.Period != nil && *cpu.Period != 0 {
		period = *cpu.Period
	}
	if (cpu.Quota == nil || *cpu.Quota == 0) && (cpu.Period == nil || *cpu.Period == 0) {
		return ""
	}
	return fmt.Sprint(quota, " ", period)
}

func v2Memory(mem *specs.LinuxMemory) ([]setting, error) {
	var all []setting
	value := func(p *int64) int64 {
		if p == nil {
			return 0
		}
		return *p
	}
	if mem.KernelTCP != nil && *mem.KernelTCP > 0 {
		return nil, fmt.Errorf("memory.kernelTCP: cgroup v2 has no such limit: %w", fault.Unsupported)
	}
	if mem.DisableOOMKiller != nil && *mem.DisableOOMKiller {
		return nil, fmt.Errorf("memory.disableOOMKiller: cgroup v2 has no such switch: %w", fault.Unsupported)
	}
	swap, err := cgroups.ConvertMemorySwapToCgroupV2Value(value(mem.Swap), value(mem.Limit))
	if err != nil {
		return nil, fmt.Errorf("memory.swap: %w: %w", err, fault.Invalid)
	}
	if value(mem.Swap) > 0 || swap != 0 {
		all = append(all, setting{controller: "memory", file: "memory.swap.max", value: number(swap, "max"), field: "memory.swap", initial: "max",
			lenient: swap <= 0}) // kernels without swap have no such file
	}
	if limit := value(mem.Limit); limit != 0 {
		all = append(all, setting{controller: "memory", file: "memory.max", value: number(limit, "max"), field: "memory.limit", initial: "max"})
	}
	if low := value(mem.Reservation); low != 0 {
		// runc's choice: what the group is not reclaimed below.
		all = append(all, setting{controller: "memory", file: "memory.low", value: number(low, "max"), field: "memory.reservation", initial: "0"})
	}
	return all, nil
}

func v2BlockIO(io *specs.LinuxBlockIO) []setting {
	var all []setting
	if io.Weight != nil && *io.Weight != 0 {
		// io.weight exists with the cost model, io.bfq.weight with that scheduler.
		all = append(all, setting{controller: "io", file: "io.weight", instead: "io.bfq.weight", value: strconv.FormatUint(cgroups.ConvertBlkIOToIOWeightValue(*io.Weight), 10), field: "blockIO.weight"})
	}
	for i, d := range io.WeightDevice {
		if d.Weight != nil {
			all = append(all, setting{controller: "io", file: "io.bfq.weight", value: fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.Weight), field: fmt.Sprintf("blockIO.weightDevice[%d]", i)})
		}
	}
	for _, t := range throttles(io) {
		for i, d := range t.devices {
			rate := strconv.FormatUint(d.Rate, 10)
			if d.Rate == 0 {
				rate = "max"
			}
			all = append(all, setting{controller: "io", file: "io.max", value: fmt.Sprintf("%d:%d %s=%s", d.Major, d.Minor, t.v2, rate), field: fmt.Sprintf("blockIO.%s[%d]", t.field, i)})
		}
	}
	return all
}

// unlimited is the least limit of v1 that stands for none: the kernel rounds
// the largest number down to whole pages, whose size differs.
const unlimited = math.MaxInt64 &^ (1<<20 - 1)

// parseMax reads a limit as v2 prints it.
func parseMax(text string) (uint64, error) {
	if text == "max" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, errors.Join(err, fault.Corrupt)
	}
	return n, nil
}
