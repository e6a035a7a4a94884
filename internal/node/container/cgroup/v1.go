package cgroup

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// v1Settings says what to write on a v1 machine, but for memory limits.
func v1Settings(res *specs.LinuxResources) ([]setting, error) {
	var all []setting
	add := func(controller, file, value, field, initial string) {
		all = append(all, setting{controller: controller, file: file, value: value, field: field, initial: initial})
	}
	if cpu := res.CPU; cpu != nil {
		if cpu.Shares != nil && *cpu.Shares != 0 {
			add("cpu", "cpu.shares", strconv.FormatUint(*cpu.Shares, 10), "cpu.shares", "1024")
		}
		if cpu.Period != nil && *cpu.Period != 0 {
			add("cpu", "cpu.cfs_period_us", strconv.FormatUint(*cpu.Period, 10), "cpu.period", "100000")
		}
		if cpu.Quota != nil && *cpu.Quota != 0 {
			add("cpu", "cpu.cfs_quota_us", strconv.FormatInt(*cpu.Quota, 10), "cpu.quota", "-1")
		}
		if cpu.Burst != nil {
			add("cpu", "cpu.cfs_burst_us", strconv.FormatUint(*cpu.Burst, 10), "cpu.burst", "0")
		}
		if cpu.Idle != nil {
			add("cpu", "cpu.idle", strconv.FormatInt(*cpu.Idle, 10), "cpu.idle", "0")
		}
		if cpu.RealtimePeriod != nil && *cpu.RealtimePeriod != 0 {
			add("cpu", "cpu.rt_period_us", strconv.FormatUint(*cpu.RealtimePeriod, 10), "cpu.realtimePeriod", "1000000")
		}
		if cpu.RealtimeRuntime != nil && *cpu.RealtimeRuntime != 0 {
			add("cpu", "cpu.rt_runtime_us", strconv.FormatInt(*cpu.RealtimeRuntime, 10), "cpu.realtimeRuntime", "")
		}
		if cpu.Cpus != "" {
			add("cpuset", "cpuset.cpus", cpu.Cpus, "cpu.cpus", "")
		}
		if cpu.Mems != "" {
			add("cpuset", "cpuset.mems", cpu.Mems, "cpu.mems", "")
		}
	}
	if res.Pids != nil && res.Pids.Limit != nil {
		add("pids", "pids.max", pidsMax(*res.Pids.Limit), "pids.limit", "max")
	}
	for i, limit := range res.HugepageLimits {
		for _, file := range []string{"limit_in_bytes", "rsvd.limit_in_bytes"} {
			// The kubelet limits every page size of the machine to what a pod asks
			// for, which is mostly nothing. Reservations came with Linux 5.7.
			all = append(all, setting{controller: "hugetlb", file: "hugetlb." + limit.Pagesize + "." + file, value: strconv.FormatUint(limit.Limit, 10),
				field: fmt.Sprintf("hugepageLimits[%d]", i), lenient: limit.Limit == 0 || file != "limit_in_bytes"})
		}
	}
	if io := res.BlockIO; io != nil {
		if io.Weight != nil && *io.Weight != 0 {
			all = append(all, setting{controller: "blkio", file: "blkio.weight", instead: "blkio.bfq.weight", value: strconv.Itoa(int(*io.Weight)), field: "blockIO.weight"})
		}
		for i, d := range io.WeightDevice {
			if d.Weight != nil {
				all = append(all, setting{controller: "blkio", file: "blkio.weight_device", instead: "blkio.bfq.weight_device",
					value: fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.Weight), field: fmt.Sprintf("blockIO.weightDevice[%d]", i)})
			}
		}
		for _, t := range throttles(io) {
			for i, d := range t.devices {
				add("blkio", "blkio.throttle."+t.v1, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate), fmt.Sprintf("blockIO.%s[%d]", t.field, i), "")
			}
		}
	}
	if net := res.Network; net != nil {
		if net.ClassID != nil && *net.ClassID != 0 {
			add("net_cls", "net_cls.classid", strconv.FormatUint(uint64(*net.ClassID), 10), "network.classID", "")
		}
		for i, p := range net.Priorities {
			add("net_prio", "net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority), fmt.Sprintf("network.priorities[%d]", i), "")
		}
	}
	if mem := res.Memory; mem != nil {
		if mem.Reservation != nil && *mem.Reservation != 0 {
			add("memory", "memory.soft_limit_in_bytes", strconv.FormatInt(*mem.Reservation, 10), "memory.reservation", "-1")
		}
		if mem.KernelTCP != nil && *mem.KernelTCP != 0 {
			add("memory", "memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(*mem.KernelTCP, 10), "memory.kernelTCP", "-1")
		}
		if mem.Swappiness != nil {
			add("memory", "memory.swappiness", strconv.FormatUint(*mem.Swappiness, 10), "memory.swappiness", "")
		}
		if mem.DisableOOMKiller != nil && *mem.DisableOOMKiller {
			add("memory", "memory.oom_control", "1", "memory.disableOOMKiller", "")
		}
	}
	if len(res.Unified) > 0 {
		return nil, fmt.Errorf("unified: keys of cgroup v2 are %w on this machine, which has v1", fault.Unsupported)
	}
	return all, nil
}

// A throttle is one of the four limits on a block device.
type throttle struct {
	field, v1, v2 string
	devices       []specs.LinuxThrottleDevice
}

func throttles(io *specs.LinuxBlockIO) []throttle {
	return []throttle{
		{"throttleReadBpsDevice", "read_bps_device", "rbps", io.ThrottleReadBpsDevice},
		{"throttleWriteBpsDevice", "write_bps_device", "wbps", io.ThrottleWriteBpsDevice},
		{"throttleReadIOPSDevice", "read_iops_device", "riops", io.ThrottleReadIOPSDevice},
		{"throttleWriteIOPSDevice", "write_iops_device", "wiops", io.ThrottleWriteIOPSDevice},
	}
}

// applyMemoryV1 writes the limit of memory and that of memory with swap. The
// first may at no time be above the second, so the order of the writes depends
// on the direction of the change.
func (g *Group) applyMemoryV1(mem *specs.LinuxMemory, created bool) error {
	var limit, swap int64
	if mem.Limit != nil {
		limit = *mem.Limit
	}
	if mem.Swap != nil {
		swap = *mem.Swap
	}
	h := g.m.find("memory")
	dir := g.dir(h)
	if limit == -1 && swap == 0 {
		// No limit above a limit would be refused.
		swap = -1
	}
	if created && limit == -1 && swap == -1 {
		return nil
	}
	memory := setting{file: "memory.limit_in_bytes", value: strconv.FormatInt(limit, 10), field: "memory.limit"}
	// Machines booted without swap accounting have no such file; it is missed
	// only by a limit that differs from that of memory.
	both := setting{file: "memory.memsw.limit_in_bytes", value: strconv.FormatInt(swap, 10), field: "memory.swap", lenient: swap == limit || swap == -1}
	var order []setting
	if limit != 0 {
		order = append(order, memory)
	}
	if swap != 0 {
		order = append(order, both)
	}
	if len(order) == 2 && !created {
		now, err := readUint(dir, both.file)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		if err == nil && (swap == -1 || uint64(swap) > now) {
			order[0], order[1] = both, memory
		}
	}
	for _, s := range order {
		if err := s.write(dir); err != nil {
			return s.explain(err)
		}
	}
	return nil
}
