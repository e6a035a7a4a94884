package cri

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Version tells who serves.
func (s *Server) Version(context.Context, *runtime.VersionRequest) (*runtime.VersionResponse, error) {
	version := s.cfg.Version
	if version == "" {
		version = "0.0.0"
	}
	return &runtime.VersionResponse{
		Version: "0.1.0", RuntimeName: "sampan", RuntimeVersion: version, RuntimeApiVersion: "v1",
	}, nil
}

// Status tells what works and what each handler can do.
func (s *Server) Status(_ context.Context, req *runtime.StatusRequest) (*runtime.StatusResponse, error) {
	net := &runtime.RuntimeCondition{Type: runtime.NetworkReady, Status: true}
	if s.cfg.Network != nil {
		if err := s.cfg.Network(); err != nil {
			net.Status, net.Reason, net.Message = false, "NetworkNotReady", err.Error()
		}
	}
	resp := &runtime.StatusResponse{
		Status: &runtime.RuntimeStatus{Conditions: []*runtime.RuntimeCondition{
			{Type: runtime.RuntimeReady, Status: true}, net,
		}},
		Features: &runtime.RuntimeFeatures{SupplementalGroupsPolicy: true},
	}
	for _, h := range s.engine.Handlers() {
		resp.RuntimeHandlers = append(resp.RuntimeHandlers, &runtime.RuntimeHandler{
			Name: h, Features: &runtime.RuntimeHandlerFeatures{
				RecursiveReadOnlyMounts: true, UserNamespaces: s.engine.UserNamespaces(h) == nil,
			},
		})
	}
	if !req.GetVerbose() {
		return resp, nil
	}
	var err error
	resp.Info, err = verbose(map[string]any{
		"socket": s.cfg.Socket, "handlers": s.engine.Handlers(),
		"imageDir": s.cfg.ImageDir, "version": s.cfg.Version,
		"pulls": map[string]int64{"running": s.pulls.running.Load(), "done": s.pulls.done.Load(), "failed": s.pulls.failed.Load()},
	})
	if resp.Info != nil {
		resp.Info["config"] = resp.Info["info"] // where crictl looks for it
		delete(resp.Info, "info")
	}
	return resp, err
}

// RuntimeConfig tells the kubelet which cgroup driver to use.
func (s *Server) RuntimeConfig(context.Context, *runtime.RuntimeConfigRequest) (*runtime.RuntimeConfigResponse, error) {
	driver := runtime.CgroupDriver_CGROUPFS
	if s.engine.SystemdCgroups() {
		driver = runtime.CgroupDriver_SYSTEMD
	}
	return &runtime.RuntimeConfigResponse{Linux: &runtime.LinuxRuntimeConfiguration{CgroupDriver: driver}}, nil
}

// UpdateRuntimeConfig is told the node's pod range. The network has its own
// settings and is not changed by the kubelet.
func (s *Server) UpdateRuntimeConfig(_ context.Context, req *runtime.UpdateRuntimeConfigRequest) (*runtime.UpdateRuntimeConfigResponse, error) {
	for _, cidr := range strings.FieldsFunc(req.GetRuntimeConfig().GetNetworkConfig().GetPodCidr(), func(r rune) bool { return r == ',' }) {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			return nil, fmt.Errorf("runtime_config.network_config.pod_cidr: %w: %w", fault.Invalid, err)
		}
	}
	return &runtime.UpdateRuntimeConfigResponse{}, nil
}
