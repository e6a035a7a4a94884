package container

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
)

// Choice says which path is to run a container. Reason is empty where the
// container itself asks for the path or where the native one can run it.
type Choice struct {
	Runtime string // as Spec.Runtime
	Reason  string // what the native path cannot do: "hooks.createContainer"
}

// Choose decides which path is to run a container, before anything of it is
// made. One that names its runtime has it. Any other has the native path or, if
// that cannot do exactly what is asked for, the first stock runtime that can;
// without one the error says what to install.
func (r *Runtime) Choose(ctx context.Context, spec Spec) (Choice, error) {
	if spec.Runtime != "" || spec.OCI == nil {
		return Choice{Runtime: spec.Runtime}, nil
	}
	lacks := launch.Lacks(spec.OCI)
	if len(lacks) == 0 {
		return Choice{}, nil
	}
	var tried []string
	for _, handler := range r.handlers.names() {
		s, err := r.handlers.ask(ctx, handler)
		if err == nil {
			err = s.runs(spec.OCI, lacks)
		}
		if err == nil {
			return Choice{Runtime: handler, Reason: reason(lacks)}, nil
		}
		tried = append(tried, fmt.Sprintf("%s: %v", handler, err))
	}
	if len(tried) == 0 {
		return Choice{}, fmt.Errorf("%s: the native runtime cannot do this, and no OCI runtime is here that might: install runc or crun, or name one under engine.runtimes: %w",
			reason(lacks), fault.Unsupported)
	}
	return Choice{}, fmt.Errorf("%s: neither the native runtime nor a stock one here can do this (%s): %w",
		reason(lacks), strings.Join(tried, "; "), fault.Unsupported)
}

func reason(lacks []launch.Lack) string {
	texts := make([]string, len(lacks))
	for i, l := range lacks {
		texts[i] = l.String()
	}
	return strings.Join(texts, ", ")
}

// runs tells why a runtime cannot run what the native path lacks.
func (s stock) runs(spec *specs.Spec, lacks []launch.Lack) error {
	if spec.Linux != nil && slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace }) {
		return fmt.Errorf("only the native runtime has user namespaces")
	}
	for _, l := range lacks {
		if !s.does(l) {
			return fmt.Errorf("it has no %s", l.Kind)
		}
	}
	return nil
}

// does tells whether a runtime says that it can do something. What it is silent
// about, it can do if every runtime could before they began to tell.
func (s stock) does(l launch.Lack) bool {
	can, linux := s.can, s.can.Linux
	if linux == nil {
		linux = &features.Linux{}
	}
	crun := s.name == "crun"
	switch l.Kind {
	case launch.LackHook:
		return can.Hooks == nil || slices.Contains(can.Hooks, l.Value)
	case launch.LackIntelRdt:
		return linux.IntelRdt == nil || linux.IntelRdt.Enabled == nil || *linux.IntelRdt.Enabled
	case launch.LackSeccompNotify:
		return linux.Seccomp == nil || linux.Seccomp.Actions == nil || slices.Contains(linux.Seccomp.Actions, string(specs.ActNotify))
	case launch.LackNetDevices:
		return linux.NetDevices != nil && linux.NetDevices.Enabled != nil && *linux.NetDevices.Enabled
	case launch.LackMemoryPolicy:
		return linux.MemoryPolicy != nil
	case launch.LackNamespace:
		return l.Value == string(specs.TimeNamespace) && slices.Contains(linux.Namespaces, l.Value)
	case launch.LackMountOption:
		if can.MountOptions == nil {
			return crun || l.Value == "tmpcopyup" || l.Value == "remount"
		}
		return slices.Contains(can.MountOptions, l.Value)
	case launch.LackAnnotation:
		// crun's own begin so; any other is for whoever the operator means.
		return crun || !strings.HasPrefix(l.Value, "run.oci.")
	}
	return false
}
