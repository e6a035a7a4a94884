package container

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// stockRequest says what only a stock runtime has to be told.
func (r *Runtime) stockRequest(ctx context.Context, spec Spec, req *wire.Start) error {
	if r.handlers.program(spec.Runtime) == "" {
		return fmt.Errorf("runtime handler %q is neither configured nor installed (there are: %s): %w",
			spec.Runtime, strings.Join(r.handlers.names(), ", "), fault.Invalid)
	}
	s, err := r.handlers.ask(ctx, spec.Runtime)
	if err != nil {
		return fmt.Errorf("%w: %w", err, fault.Precondition)
	}
	req.Binary = s.program
	// crun refuses hybrid machines whose v2 side has a controller.
	if s.name == "crun" && r.cfg.Cgroups.Version() == cgroup.Hybrid {
		req.Aside = cgroupPath(spec)
	}
	oci, linux := *spec.OCI, *spec.OCI.Linux
	linux.Resources = r.countable(linux.Resources)
	oci.Linux = &linux
	req.OCI = &oci
	return nil
}

// countable leaves out limits of no huge pages at all, which the kubelet sets
// for every size, where the machine does not count them. The native path lets
// them pass too; a stock runtime would fail for the file that is not there.
func (r *Runtime) countable(res *specs.LinuxResources) *specs.LinuxResources {
	if res == nil || r.cfg.Cgroups.Limits("hugetlb") {
		return res
	}
	out := *res
	out.HugepageLimits = slices.DeleteFunc(slices.Clone(res.HugepageLimits), func(l specs.LinuxHugepageLimit) bool { return l.Limit == 0 })
	return &out
}
