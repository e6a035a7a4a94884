package cri

import (
	"context"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

const owner = engine.OwnerCRI

// RunPodSandbox makes a pod.
func (s *Server) RunPodSandbox(ctx context.Context, req *runtime.RunPodSandboxRequest) (*runtime.RunPodSandboxResponse, error) {
	cfg, err := podConfig(req.GetConfig(), req.GetRuntimeHandler())
	if err != nil {
		return nil, err
	}
	pod, err := s.engine.RunPod(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &runtime.RunPodSandboxResponse{PodSandboxId: pod.ID}, nil
}

// StopPodSandbox ends everything in a pod. An unknown pod has ended.
func (s *Server) StopPodSandbox(ctx context.Context, req *runtime.StopPodSandboxRequest) (*runtime.StopPodSandboxResponse, error) {
	err := s.engine.StopPod(ctx, owner, req.GetPodSandboxId())
	if err != nil && fault.Of(err) != fault.NotFound {
		return nil, err
	}
	return &runtime.StopPodSandboxResponse{}, nil
}

// RemovePodSandbox removes a pod with all that is in it.
func (s *Server) RemovePodSandbox(ctx context.Context, req *runtime.RemovePodSandboxRequest) (*runtime.RemovePodSandboxResponse, error) {
	if err := s.engine.RemovePod(ctx, owner, req.GetPodSandboxId()); err != nil {
		return nil, err
	}
	return &runtime.RemovePodSandboxResponse{}, nil
}

// PodSandboxStatus tells everything about one pod.
func (s *Server) PodSandboxStatus(_ context.Context, req *runtime.PodSandboxStatusRequest) (*runtime.PodSandboxStatusResponse, error) {
	pod, err := s.engine.Pod(owner, req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	resp := &runtime.PodSandboxStatusResponse{
		Status: podStatus(&pod), Timestamp: time.Now().UnixNano(),
		ContainersStatuses: containerStatuses(s.engine.ContainersOf(pod.ID)),
	}
	if req.GetVerbose() {
		resp.Info, err = verbose(pod)
	}
	return resp, err
}

// ListPodSandbox lists the pods that the filter lets through.
func (s *Server) ListPodSandbox(_ context.Context, req *runtime.ListPodSandboxRequest) (*runtime.ListPodSandboxResponse, error) {
	return &runtime.ListPodSandboxResponse{Items: s.pods(req.GetFilter())}, nil
}

// StreamPodSandboxes is ListPodSandbox in pieces.
func (s *Server) StreamPodSandboxes(req *runtime.StreamPodSandboxesRequest, out runtime.RuntimeService_StreamPodSandboxesServer) error {
	return inPieces(s.pods(req.GetFilter()), func(part []*runtime.PodSandbox) error {
		return out.Send(&runtime.StreamPodSandboxesResponse{PodSandboxes: part})
	})
}

func (s *Server) pods(f *runtime.PodSandboxFilter) []*runtime.PodSandbox {
	var items []*runtime.PodSandbox
	for _, p := range s.engine.Pods(owner) {
		switch {
		case !idMatches(f.GetId(), p.ID),
			f.GetState() != nil && f.GetState().GetState() != podState(&p),
			!labelsMatch(f.GetLabelSelector(), p.Config.Labels):
			continue
		}
		items = append(items, &runtime.PodSandbox{
			Id: p.ID, Metadata: podMetadata(&p), State: podState(&p), CreatedAt: p.Created.UnixNano(),
			Labels: p.Config.Labels, Annotations: p.Config.Annotations, RuntimeHandler: p.Config.Handler,
		})
	}
	return items
}

// UpdatePodSandboxResources is told of a pod's new total after the kubelet has
// changed the pod's own cgroup. Containers are changed one by one.
func (s *Server) UpdatePodSandboxResources(ctx context.Context, req *runtime.UpdatePodSandboxResourcesRequest) (*runtime.UpdatePodSandboxResourcesResponse, error) {
	err := s.engine.UpdatePod(owner, req.GetPodSandboxId(), resources(req.GetOverhead()), resources(req.GetResources()))
	if err != nil {
		return nil, err
	}
	return &runtime.UpdatePodSandboxResourcesResponse{}, nil
}
