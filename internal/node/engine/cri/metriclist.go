package cri

import (
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// metric is one of a container's. The names and units are cAdvisor's, which
// every dashboard for Kubernetes is written for.
type metric struct {
	about
	points func(*observed) []point
}

// networkMetric is one of a pod's.
type networkMetric struct {
	about
	value func(*engine.Interface) uint64
}

const (
	counter = runtime.MetricType_COUNTER
	gauge   = runtime.MetricType_GAUGE
)

func one(v uint64) []point { return []point{{value: v}} }

func seconds(d time.Duration) []point { return one(uint64(d / time.Second)) }

// simple makes a metric of one value.
func simple(name, help string, kind runtime.MetricType, get func(*observed) uint64) metric {
	return metric{about{name, help, kind, nil}, func(o *observed) []point { return one(get(o)) }}
}

// onDisk makes a metric of one value for the filesystem that containers write to.
func onDisk(name, help string, get func(*observed) uint64) metric {
	return metric{about{name, help, gauge, []string{"device"}}, func(o *observed) []point {
		return []point{{[]string{"overlay"}, get(o)}}
	}}
}

// perDisk makes a metric of one value for each device.
func perDisk(name, help string, get func(o *observed, i int) uint64) metric {
	return metric{about{name, help, counter, []string{"device"}}, func(o *observed) []point {
		var out []point
		for i, d := range o.sample.Disks {
			out = append(out, point{[]string{d.Major + ":" + d.Minor}, get(o, i)})
		}
		return out
	}}
}

func containerMetrics() []metric {
	list := append(cpuMetrics(), memoryMetrics()...)
	list = append(list, diskMetrics()...)
	list = append(list, processMetrics()...)
	return append(list, specMetrics()...)
}

func cpuMetrics() []metric {
	return []metric{
		{about{"container_cpu_usage_seconds_total", "Processor time used, in seconds.", counter, nil}, func(o *observed) []point { return seconds(o.use.Stats.CPU) }},
		{about{"container_cpu_user_seconds_total", "Processor time used in user mode, in seconds.", counter, nil}, func(o *observed) []point { return seconds(o.sample.CPUUser) }},
		{about{"container_cpu_system_seconds_total", "Processor time used in the kernel, in seconds.", counter, nil}, func(o *observed) []point { return seconds(o.sample.CPUSystem) }},
		{about{"container_cpu_cfs_throttled_seconds_total", "Time held back by the processor limit, in seconds.", counter, nil}, func(o *observed) []point { return seconds(o.sample.ThrottledTime) }},
		simple("container_cpu_cfs_periods_total", "Periods of the processor limit.", counter, func(o *observed) uint64 { return o.sample.Periods }),
		simple("container_cpu_cfs_throttled_periods_total", "Periods in which the processor limit was reached.", counter, func(o *observed) uint64 { return o.sample.Throttled }),
	}
}

func memoryMetrics() []metric {
	return []metric{
		simple("container_memory_usage_bytes", "Memory charged, in bytes.", gauge, func(o *observed) uint64 { return o.use.Stats.Memory }),
		simple("container_memory_working_set_bytes", "Memory that cannot be dropped at once, in bytes.", gauge, func(o *observed) uint64 { return o.use.Stats.WorkingSet }),
		simple("container_memory_cache", "Page cache, in bytes.", gauge, func(o *observed) uint64 { return o.sample.Cache }),
		simple("container_memory_rss", "Anonymous memory, in bytes.", gauge, func(o *observed) uint64 { return o.sample.RSS }),
		simple("container_memory_kernel_usage", "The kernel's memory for the container, in bytes.", gauge, func(o *observed) uint64 { return o.sample.Kernel }),
		simple("container_memory_mapped_file", "Mapped files, in bytes.", gauge, func(o *observed) uint64 { return o.sample.Mapped }),
		simple("container_memory_swap", "Swap used, in bytes.", gauge, func(o *observed) uint64 { return o.sample.Swap }),
		simple("container_memory_max_usage_bytes", "The most memory ever charged, in bytes.", gauge, func(o *observed) uint64 { return o.sample.MaxMemory }),
		simple("container_memory_failcnt", "How often the memory limit was hit.", counter, func(o *observed) uint64 { return o.sample.Failures }),
		simple("container_memory_total_active_file_bytes", "Page cache in recent use, in bytes.", gauge, func(o *observed) uint64 { return o.sample.ActiveFile }),
		simple("container_memory_total_inactive_file_bytes", "Page cache not in recent use, in bytes.", gauge, func(o *observed) uint64 { return o.sample.InactiveFile }),
		simple("container_oom_events_total", "Processes killed for memory.", counter, func(o *observed) uint64 { return o.sample.OOMKills }),
		{about{"container_memory_failures_total", "Page faults.", counter, []string{"failure_type", "scope"}}, func(o *observed) []point {
			return []point{
				{[]string{"pgfault", "container"}, o.sample.PageFaults}, {[]string{"pgmajfault", "container"}, o.sample.MajorFaults},
				{[]string{"pgfault", "hierarchy"}, o.use.Stats.PageFaults}, {[]string{"pgmajfault", "hierarchy"}, o.use.Stats.MajorPageFaults},
			}
		}},
	}
}

func diskMetrics() []metric {
	return []metric{
		onDisk("container_fs_usage_bytes", "What the container has written, in bytes.", func(o *observed) uint64 { return o.use.Writable.Bytes }),
		onDisk("container_fs_limit_bytes", "Size of the filesystem, in bytes.", func(o *observed) uint64 { return o.space.Bytes }),
		onDisk("container_fs_inodes_total", "Inodes of the filesystem.", func(o *observed) uint64 { return o.space.Inodes }),
		onDisk("container_fs_inodes_free", "Free inodes of the filesystem.", func(o *observed) uint64 { return o.space.FreeInodes }),
		perDisk("container_fs_reads_bytes_total", "Read from the device, in bytes.", func(o *observed, i int) uint64 { return o.sample.Disks[i].ReadBytes }),
		perDisk("container_fs_writes_bytes_total", "Written to the device, in bytes.", func(o *observed, i int) uint64 { return o.sample.Disks[i].WriteBytes }),
		perDisk("container_fs_reads_total", "Reads from the device.", func(o *observed, i int) uint64 { return o.sample.Disks[i].Reads }),
		perDisk("container_fs_writes_total", "Writes to the device.", func(o *observed, i int) uint64 { return o.sample.Disks[i].WriteCount }),
		{about{"container_blkio_device_usage_total", "Moved from or to the device, in bytes.", counter, []string{"device", "major", "minor", "operation"}}, func(o *observed) []point {
			var out []point
			for _, d := range o.sample.Disks {
				device := d.Major + ":" + d.Minor
				out = append(out, point{[]string{device, d.Major, d.Minor, "Read"}, d.ReadBytes},
					point{[]string{device, d.Major, d.Minor, "Write"}, d.WriteBytes})
			}
			return out
		}},
	}
}

func processMetrics() []metric {
	return []metric{
		simple("container_processes", "Processes.", gauge, func(o *observed) uint64 { return o.sample.Processes }),
		simple("container_threads", "Threads.", gauge, func(o *observed) uint64 { return o.sample.Threads }),
		simple("container_threads_max", "Threads allowed; 0 is without limit.", gauge, func(o *observed) uint64 { return o.sample.MaxThreads }),
		simple("container_file_descriptors", "Open file descriptors.", gauge, func(o *observed) uint64 { return o.sample.Files }),
		simple("container_sockets", "Open sockets.", gauge, func(o *observed) uint64 { return o.sample.Sockets }),
		simple("container_last_seen", "When the container was last seen, in seconds since 1970.", gauge, func(o *observed) uint64 { return uint64(o.now.Unix()) }),
		simple("container_start_time_seconds", "When the container was started, in seconds since 1970.", gauge, func(o *observed) uint64 { return uint64(o.use.Container.Started.Unix()) }),
	}
}

func specMetrics() []metric {
	limit := func(get func(*engine.Resources) int64) func(*observed) uint64 {
		return func(o *observed) uint64 {
			if o.use.Container.Resources == nil {
				return 0
			}
			return uint64(max(0, get(o.use.Container.Resources)))
		}
	}
	return []metric{
		simple("container_spec_cpu_period", "Period of the processor limit, in microseconds.", gauge, limit(func(r *engine.Resources) int64 { return r.CPUPeriod })),
		simple("container_spec_cpu_quota", "Processor time allowed in each period, in microseconds; 0 is without limit.", gauge, limit(func(r *engine.Resources) int64 { return r.CPUQuota })),
		simple("container_spec_cpu_shares", "Weight among containers.", gauge, limit(func(r *engine.Resources) int64 { return r.CPUShares })),
		simple("container_spec_memory_limit_bytes", "Memory allowed, in bytes; 0 is without limit.", gauge, limit(func(r *engine.Resources) int64 { return r.Memory })),
		simple("container_spec_memory_reservation_limit_bytes", "Memory kept for the container, in bytes.", gauge, func(*observed) uint64 { return 0 }),
		simple("container_spec_memory_swap_limit_bytes", "Memory and swap allowed together, in bytes; 0 is without limit.", gauge, limit(func(r *engine.Resources) int64 { return r.Swap })),
	}
}

func networkMetrics() []networkMetric {
	make := func(name, help string, get func(*engine.Interface) uint64) networkMetric {
		return networkMetric{about{name, help, counter, []string{"interface"}}, get}
	}
	return []networkMetric{
		make("container_network_receive_bytes_total", "Received, in bytes.", func(f *engine.Interface) uint64 { return f.RxBytes }),
		make("container_network_receive_packets_total", "Packets received.", func(f *engine.Interface) uint64 { return f.RxPackets }),
		make("container_network_receive_errors_total", "Errors while receiving.", func(f *engine.Interface) uint64 { return f.RxErrors }),
		make("container_network_receive_packets_dropped_total", "Packets dropped while receiving.", func(f *engine.Interface) uint64 { return f.RxDropped }),
		make("container_network_transmit_bytes_total", "Sent, in bytes.", func(f *engine.Interface) uint64 { return f.TxBytes }),
		make("container_network_transmit_packets_total", "Packets sent.", func(f *engine.Interface) uint64 { return f.TxPackets }),
		make("container_network_transmit_errors_total", "Errors while sending.", func(f *engine.Interface) uint64 { return f.TxErrors }),
		make("container_network_transmit_packets_dropped_total", "Packets dropped while sending.", func(f *engine.Interface) uint64 { return f.TxDropped }),
	}
}
