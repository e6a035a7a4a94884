package cgroup

import (
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// rdmaSettings limits what a group may use of RDMA devices, in a file that is the
// same on v1 and v2.
func rdmaSettings(limits map[string]specs.LinuxRdma) []setting {
	var all []setting
	for _, device := range slices.Sorted(maps.Keys(limits)) {
		value := device
		if n := limits[device].HcaHandles; n != nil {
			value += fmt.Sprintf(" hca_handle=%d", *n)
		}
		if n := limits[device].HcaObjects; n != nil {
			value += fmt.Sprintf(" hca_object=%d", *n)
		}
		if value != device {
			all = append(all, setting{controller: "rdma", file: "rdma.max", value: value, field: "rdma." + device})
		}
	}
	return all
}
