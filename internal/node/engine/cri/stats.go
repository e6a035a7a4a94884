package cri

import (
	"context"
	"sync"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// ContainerStats tells what one container uses.
func (s *Server) ContainerStats(ctx context.Context, req *runtime.ContainerStatsRequest) (*runtime.ContainerStatsResponse, error) {
	c, err := s.engine.Container(owner, req.GetContainerId())
	if err != nil {
		return nil, err
	}
	u, err := s.engine.ContainerUsage(ctx, c)
	if err != nil {
		return nil, err
	}
	return &runtime.ContainerStatsResponse{Stats: s.containerStats(&u)}, nil
}

// ListContainerStats tells what the containers use that the filter lets through.
func (s *Server) ListContainerStats(ctx context.Context, req *runtime.ListContainerStatsRequest) (*runtime.ListContainerStatsResponse, error) {
	list, err := s.listContainerStats(ctx, req.GetFilter())
	return &runtime.ListContainerStatsResponse{Stats: list}, err
}

// StreamContainerStats is ListContainerStats in pieces.
func (s *Server) StreamContainerStats(req *runtime.StreamContainerStatsRequest, out runtime.RuntimeService_StreamContainerStatsServer) error {
	list, err := s.listContainerStats(out.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return inPieces(list, func(part []*runtime.ContainerStats) error {
		return out.Send(&runtime.StreamContainerStatsResponse{ContainerStats: part})
	})
}

func (s *Server) listContainerStats(ctx context.Context, f *runtime.ContainerStatsFilter) ([]*runtime.ContainerStats, error) {
	var list []*runtime.ContainerStats
	for _, c := range s.engine.Containers(owner) {
		if !idMatches(f.GetId(), c.ID) || !idMatches(f.GetPodSandboxId(), c.PodID) || !labelsMatch(f.GetLabelSelector(), c.Config.Labels) {
			continue
		}
		u, err := s.engine.ContainerUsage(ctx, c)
		if fault.Of(err) == fault.NotFound {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s.containerStats(&u))
	}
	return list, nil
}

func (s *Server) containerStats(u *engine.Usage) *runtime.ContainerStats {
	c, st := &u.Container, &u.Stats
	out := &runtime.ContainerStats{
		Attributes: &runtime.ContainerAttributes{
			Id: c.ID, Metadata: containerMetadata(c), Labels: c.Config.Labels, Annotations: c.Config.Annotations,
		},
		WritableLayer: &runtime.FilesystemUsage{
			Timestamp: st.Time.UnixNano(), FsId: &runtime.FilesystemIdentifier{Mountpoint: s.cfg.ImageDir},
			UsedBytes: value(u.Writable.Bytes), InodesUsed: value(u.Writable.Inodes),
		},
	}
	if c.State != engine.Running {
		return out
	}
	out.Cpu, out.Memory = s.cpu.usage(c.ID, st), memoryUsage(st)
	out.Swap = &runtime.SwapUsage{Timestamp: st.Time.UnixNano(), SwapUsageBytes: value(st.Swap)}
	return out
}

func memoryUsage(st *container.Stats) *runtime.MemoryUsage {
	m := &runtime.MemoryUsage{
		Timestamp: st.Time.UnixNano(), WorkingSetBytes: value(st.WorkingSet), UsageBytes: value(st.Memory),
		RssBytes: value(st.RSS), PageFaults: value(st.PageFaults), MajorPageFaults: value(st.MajorPageFaults),
		AvailableBytes: value(0),
	}
	if st.MemoryLimit > st.WorkingSet {
		m.AvailableBytes = value(st.MemoryLimit - st.WorkingSet)
	}
	return m
}

// PodSandboxStats tells what one pod uses.
func (s *Server) PodSandboxStats(ctx context.Context, req *runtime.PodSandboxStatsRequest) (*runtime.PodSandboxStatsResponse, error) {
	p, err := s.engine.Pod(owner, req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	st, err := s.podStats(ctx, &p)
	return &runtime.PodSandboxStatsResponse{Stats: st}, err
}

// ListPodSandboxStats tells what the pods use that the filter lets through.
func (s *Server) ListPodSandboxStats(ctx context.Context, req *runtime.ListPodSandboxStatsRequest) (*runtime.ListPodSandboxStatsResponse, error) {
	list, err := s.listPodStats(ctx, req.GetFilter())
	return &runtime.ListPodSandboxStatsResponse{Stats: list}, err
}

// StreamPodSandboxStats is ListPodSandboxStats in pieces.
func (s *Server) StreamPodSandboxStats(req *runtime.StreamPodSandboxStatsRequest, out runtime.RuntimeService_StreamPodSandboxStatsServer) error {
	list, err := s.listPodStats(out.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return inPieces(list, func(part []*runtime.PodSandboxStats) error {
		return out.Send(&runtime.StreamPodSandboxStatsResponse{PodSandboxStats: part})
	})
}

func (s *Server) listPodStats(ctx context.Context, f *runtime.PodSandboxStatsFilter) ([]*runtime.PodSandboxStats, error) {
	var list []*runtime.PodSandboxStats
	for _, p := range s.engine.Pods(owner) {
		if !idMatches(f.GetId(), p.ID) || !labelsMatch(f.GetLabelSelector(), p.Config.Labels) {
			continue
		}
		st, err := s.podStats(ctx, &p)
		if fault.Of(err) == fault.NotFound {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		list = append(list, st)
	}
	return list, nil
}

// podStats adds up the pod's containers: a pod without a process of its own
// uses nothing else.
func (s *Server) podStats(ctx context.Context, p *engine.Pod) (*runtime.PodSandboxStats, error) {
	now := time.Now().UnixNano()
	var sum container.Stats
	linux := &runtime.LinuxPodSandboxStats{}
	for _, c := range s.engine.ContainersOf(p.ID) {
		u, err := s.engine.ContainerUsage(ctx, c)
		if err != nil {
			return nil, err
		}
		linux.Containers = append(linux.Containers, s.containerStats(&u))
		add(&sum, &u.Stats)
	}
	sum.Time = time.Now()
	linux.Cpu, linux.Memory = s.cpu.usage(p.ID, &sum), memoryUsage(&sum)
	linux.Process = &runtime.ProcessUsage{Timestamp: now, ProcessCount: value(sum.PIDs)}
	faces, err := s.engine.Interfaces(p)
	if err != nil {
		s.log.Debug("no network stats", "pod", p.ID, "err", err) // it is just being stopped
	}
	linux.Network = &runtime.NetworkUsage{Timestamp: now}
	for i, f := range faces {
		use := &runtime.NetworkInterfaceUsage{
			Name: f.Name, RxBytes: value(f.RxBytes), RxErrors: value(f.RxErrors),
			TxBytes: value(f.TxBytes), TxErrors: value(f.TxErrors),
		}
		if i == 0 {
			linux.Network.DefaultInterface = use
			continue
		}
		linux.Network.Interfaces = append(linux.Network.Interfaces, use)
	}
	return &runtime.PodSandboxStats{
		Attributes: &runtime.PodSandboxAttributes{
			Id: p.ID, Metadata: podMetadata(p), Labels: p.Config.Labels, Annotations: p.Config.Annotations,
		},
		Linux: linux,
	}, nil
}

func add(sum, s *container.Stats) {
	sum.CPU += s.CPU
	sum.Memory += s.Memory
	sum.WorkingSet += s.WorkingSet
	sum.RSS += s.RSS
	sum.PageFaults += s.PageFaults
	sum.MajorPageFaults += s.MajorPageFaults
	sum.MemoryLimit += s.MemoryLimit
	sum.PIDs += s.PIDs
	sum.Swap += s.Swap
}

// cpuRates turns totals into rates by remembering the total before.
type cpuRates struct {
	mu   sync.Mutex
	last map[string]cpuSample
}

type cpuSample struct {
	at    time.Time
	total time.Duration
	rate  uint64 // nanoseconds of processor time a second
}

// minSample is how far apart two samples must be to say anything.
const minSample = time.Second

// maxSamples is when samples of what has long gone are dropped.
const maxSamples = 8192

func (r *cpuRates) usage(id string, st *container.Stats) *runtime.CpuUsage {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || len(r.last) > maxSamples {
		r.last = map[string]cpuSample{}
	}
	old, known := r.last[id]
	now := cpuSample{at: st.Time, total: st.CPU, rate: old.rate}
	apart := now.at.Sub(old.at)
	switch {
	case !known:
		r.last[id] = now
	case apart >= minSample && now.total >= old.total:
		now.rate = uint64(float64(now.total-old.total) / apart.Seconds())
		r.last[id] = now
	}
	return &runtime.CpuUsage{
		Timestamp: st.Time.UnixNano(), UsageCoreNanoSeconds: value(uint64(st.CPU)), UsageNanoCores: value(now.rate),
	}
}
