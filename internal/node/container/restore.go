package container

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/criu"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// Restore says that Start makes a container's processes of a checkpoint in place
// of starting one. What they are (programs, rights, limits, environment) is as it
// was; mounts, pod, cgroup, input and outputs are the new specification's.
type Restore struct {
	Images  string `json:"images"`            // CheckpointImages of a Checkpoint
	KeepTCP bool   `json:"keepTCP,omitempty"` // connections go on: the address is the same
}

// restoring makes what the keeper is asked of it. The container's cgroup exists.
func (r *Runtime) restoring(ctx context.Context, spec Spec, req *wire.Start) error {
	if err := restorable(spec); err != nil {
		return err
	}
	program, err := criu.Find(ctx, r.cfg.CRIU)
	if err != nil {
		return err
	}
	cgroups := map[string]string{}
	for _, m := range req.CgroupMounts {
		cgroups[m.Name] = m.Source
	}
	req.Restore = &wire.Restore{
		Binary: program.Path, Images: spec.Restore.Images, KeepTCP: spec.Restore.KeepTCP, External: criu.Inside(spec.OCI, cgroups),
	}
	return nil
}

// Fits tells whether the processes of a container described by then can be
// restored into one described by now: it must have the same mounts and the same
// kinds of namespace.
func Fits(then *specs.Spec, spec Spec) error {
	if err := restorable(spec); err != nil {
		return err
	}
	now := spec.OCI
	have := mountPoints(now)
	for _, at := range mountPoints(then) {
		if !slices.Contains(have, at) {
			return fmt.Errorf("the checkpoint has a mount at %s, the new container has none: %w", at, fault.Precondition)
		}
	}
	had := mountPoints(then)
	for _, at := range have {
		if !slices.Contains(had, at) {
			return fmt.Errorf("the new container has a mount at %s, the checkpoint has none: %w", at, fault.Precondition)
		}
	}
	for _, kind := range []specs.LinuxNamespaceType{specs.NetworkNamespace, specs.UTSNamespace, specs.IPCNamespace} {
		if was, is := hasNamespace(then, kind), hasNamespace(now, kind); was != is {
			return fmt.Errorf("the checkpoint was taken with the %s namespace of the host = %v, the new container has it = %v: %w",
				kind, !was, !is, fault.Precondition)
		}
	}
	return nil
}

func mountPoints(spec *specs.Spec) []string {
	var points []string
	for _, m := range spec.Mounts {
		points = append(points, m.Destination)
	}
	return points
}

func hasNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return spec.Linux != nil && slices.ContainsFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == kind })
}
