package cri

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// CheckpointContainer takes no checkpoint yet. It judges the request as if it
// did, and says what is missing: on this machine, or in this engine.
func (s *Server) CheckpointContainer(_ context.Context, req *runtime.CheckpointContainerRequest) (*runtime.CheckpointContainerResponse, error) {
	if err := checkTimeout(req.GetTimeout()); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(req.GetLocation()) {
		return nil, fmt.Errorf("location %q is not absolute: %w", req.GetLocation(), fault.Invalid)
	}
	if err := s.runs(req.GetContainerId()); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("criu"); err != nil {
		return nil, fmt.Errorf("checkpoint container %s: there is no program criu (4.1 or newer) on this machine, "+
			"and this version of the engine takes no checkpoints even with it: %w", req.GetContainerId(), fault.Precondition)
	}
	return nil, fmt.Errorf("checkpoint container %s: this version of the engine takes no checkpoints: %w",
		req.GetContainerId(), fault.Unsupported)
}
