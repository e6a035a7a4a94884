package cgroup

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestLimitsOfRDMADevices(t *testing.T) {
	limits := map[string]specs.LinuxRdma{
		"mlx5_1": {HcaHandles: ptr(uint32(3)), HcaObjects: ptr(uint32(10000))},
		"mlx5_0": {HcaObjects: ptr(uint32(7))},
		"ocrdma": {},
	}
	var got []string
	for _, s := range rdmaSettings(limits) {
		got = append(got, s.file+": "+s.value)
	}
	want := "rdma.max: mlx5_0 hca_object=7|rdma.max: mlx5_1 hca_handle=3 hca_object=10000"
	if strings.Join(got, "|") != want {
		t.Errorf("settings = %q, want %q", strings.Join(got, "|"), want)
	}
	_, err := fakeV2(t).Create(t.Context(), "a", &specs.LinuxResources{Rdma: limits})
	if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "rdma.mlx5_0: this machine has no cgroup controller rdma") {
		t.Errorf("Create on a machine without the controller = %v, want %v", err, fault.Unsupported)
	}
}
