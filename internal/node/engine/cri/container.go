package cri

import (
	"context"
	"fmt"
	"math"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// CreateContainer makes a container in a pod.
func (s *Server) CreateContainer(ctx context.Context, req *runtime.CreateContainerRequest) (*runtime.CreateContainerResponse, error) {
	cfg, err := containerConfig(req.GetConfig())
	if err != nil {
		return nil, err
	}
	c, err := s.engine.CreateContainer(ctx, owner, req.GetPodSandboxId(), cfg)
	if err != nil {
		return nil, err
	}
	return &runtime.CreateContainerResponse{ContainerId: c.ID}, nil
}

// StartContainer starts a container's program.
func (s *Server) StartContainer(ctx context.Context, req *runtime.StartContainerRequest) (*runtime.StartContainerResponse, error) {
	if err := s.engine.StartContainer(ctx, owner, req.GetContainerId()); err != nil {
		return nil, err
	}
	return &runtime.StartContainerResponse{}, nil
}

// StopContainer ends a container. An unknown one has ended.
func (s *Server) StopContainer(ctx context.Context, req *runtime.StopContainerRequest) (*runtime.StopContainerResponse, error) {
	if err := checkTimeout(req.GetTimeout()); err != nil {
		return nil, err
	}
	timeout := time.Duration(min(req.GetTimeout(), math.MaxInt32)) * time.Second
	err := s.engine.StopContainer(ctx, owner, req.GetContainerId(), timeout)
	if err != nil && fault.Of(err) != fault.NotFound {
		return nil, err
	}
	return &runtime.StopContainerResponse{}, nil
}

// RemoveContainer removes a container, killing it if it runs.
func (s *Server) RemoveContainer(ctx context.Context, req *runtime.RemoveContainerRequest) (*runtime.RemoveContainerResponse, error) {
	if err := s.engine.RemoveContainer(ctx, owner, req.GetContainerId()); err != nil {
		return nil, err
	}
	return &runtime.RemoveContainerResponse{}, nil
}

// ListContainers lists the containers that the filter lets through.
func (s *Server) ListContainers(_ context.Context, req *runtime.ListContainersRequest) (*runtime.ListContainersResponse, error) {
	return &runtime.ListContainersResponse{Containers: s.containers(req.GetFilter())}, nil
}

// StreamContainers is ListContainers in pieces.
func (s *Server) StreamContainers(req *runtime.StreamContainersRequest, out runtime.RuntimeService_StreamContainersServer) error {
	return inPieces(s.containers(req.GetFilter()), func(part []*runtime.Container) error {
		return out.Send(&runtime.StreamContainersResponse{Containers: part})
	})
}

func (s *Server) containers(f *runtime.ContainerFilter) []*runtime.Container {
	var items []*runtime.Container
	for _, c := range s.engine.Containers(owner) {
		switch {
		case !idMatches(f.GetId(), c.ID), !idMatches(f.GetPodSandboxId(), c.PodID),
			f.GetState() != nil && f.GetState().GetState() != containerState(&c),
			!labelsMatch(f.GetLabelSelector(), c.Config.Labels):
			continue
		}
		items = append(items, &runtime.Container{
			Id: c.ID, PodSandboxId: c.PodID, Metadata: containerMetadata(&c), Image: imageSpec(&c),
			ImageRef: c.Image.Ref, ImageId: c.Image.ID.String(), State: containerState(&c),
			CreatedAt: c.Created.UnixNano(), Labels: c.Config.Labels, Annotations: c.Config.Annotations,
		})
	}
	return items
}

// ContainerStatus tells everything about one container.
func (s *Server) ContainerStatus(_ context.Context, req *runtime.ContainerStatusRequest) (*runtime.ContainerStatusResponse, error) {
	c, err := s.engine.Container(owner, req.GetContainerId())
	if err != nil {
		return nil, err
	}
	resp := &runtime.ContainerStatusResponse{Status: containerStatus(&c)}
	if req.GetVerbose() {
		resp.Info, err = verbose(c)
	}
	return resp, err
}

// UpdateContainerResources changes a container's limits.
func (s *Server) UpdateContainerResources(ctx context.Context, req *runtime.UpdateContainerResourcesRequest) (*runtime.UpdateContainerResourcesResponse, error) {
	r := resources(req.GetLinux())
	if r == nil {
		return nil, fmt.Errorf("update container %s: linux is missing: %w", req.GetContainerId(), fault.Invalid)
	}
	if err := s.engine.UpdateContainer(ctx, owner, req.GetContainerId(), *r); err != nil {
		return nil, err
	}
	return &runtime.UpdateContainerResourcesResponse{}, nil
}

// ReopenContainerLog makes a container write to a new file.
func (s *Server) ReopenContainerLog(ctx context.Context, req *runtime.ReopenContainerLogRequest) (*runtime.ReopenContainerLogResponse, error) {
	if err := s.engine.ReopenLog(ctx, owner, req.GetContainerId()); err != nil {
		return nil, err
	}
	return &runtime.ReopenContainerLogResponse{}, nil
}

var _ runtime.RuntimeServiceServer = (*Server)(nil)
var _ runtime.ImageServiceServer = (*Server)(nil)

func resources(r *runtime.LinuxContainerResources) *engine.Resources {
	if r == nil {
		return nil
	}
	out := &engine.Resources{
		CPUPeriod: r.GetCpuPeriod(), CPUQuota: r.GetCpuQuota(), CPUShares: r.GetCpuShares(),
		Memory: r.GetMemoryLimitInBytes(), Swap: r.GetMemorySwapLimitInBytes(), OOMScoreAdj: r.GetOomScoreAdj(),
		CPUs: r.GetCpusetCpus(), Mems: r.GetCpusetMems(), Unified: r.GetUnified(),
	}
	for _, h := range r.GetHugepageLimits() {
		out.HugePages = append(out.HugePages, engine.HugePage{Size: h.GetPageSize(), Limit: h.GetLimit()})
	}
	return out
}

func resourcesBack(r *engine.Resources) *runtime.ContainerResources {
	if r == nil {
		return nil
	}
	out := &runtime.LinuxContainerResources{
		CpuPeriod: r.CPUPeriod, CpuQuota: r.CPUQuota, CpuShares: r.CPUShares,
		MemoryLimitInBytes: r.Memory, MemorySwapLimitInBytes: r.Swap, OomScoreAdj: r.OOMScoreAdj,
		CpusetCpus: r.CPUs, CpusetMems: r.Mems, Unified: r.Unified,
	}
	for _, h := range r.HugePages {
		out.HugepageLimits = append(out.HugepageLimits, &runtime.HugepageLimit{PageSize: h.Size, Limit: h.Limit})
	}
	return &runtime.ContainerResources{Linux: out}
}
