package cri

import (
	"context"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CheckpointContainer writes a running container into an archive. Without a
// timeout of its own it takes as long as the caller waits.
func (s *Server) CheckpointContainer(ctx context.Context, req *runtime.CheckpointContainerRequest) (*runtime.CheckpointContainerResponse, error) {
	if err := checkTimeout(req.GetTimeout()); err != nil {
		return nil, err
	}
	if seconds := req.GetTimeout(); seconds > 0 {
		const most = int64(1 << 31) // whatever is above would not fit a Duration
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(min(seconds, most))*time.Second)
		defer cancel()
	}
	if err := s.engine.CheckpointContainer(ctx, owner, req.GetContainerId(), req.GetLocation()); err != nil {
		return nil, err
	}
	return &runtime.CheckpointContainerResponse{}, nil
}
