package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
)

// startPause starts the process that is the first one of a pod's shared process
// namespace. It adopts what its containers leave and reaps it, so it must be
// there before and after each of them.
func (e *Engine) startPause(ctx context.Context, p *Pod) error {
	program := e.cfg.Pause[0]
	root := filepath.Join(e.podDir(p.ID), "pause")
	if err := os.MkdirAll(root, 0o711); err != nil {
		return err
	}
	inside := "/" + filepath.Base(program)
	spec := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: root, Readonly: true},
		Process: &specs.Process{
			Args: append([]string{inside}, e.cfg.Pause[1:]...), Cwd: "/", NoNewPrivileges: true,
			User: specs.User{UID: pauseUser, GID: pauseUser}, Capabilities: &specs.LinuxCapabilities{},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: inside, Type: "bind", Source: program, Options: []string{"bind", "ro", "nosuid", "nodev"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: e.cgroupPath(p, p.pauseID()),
			Namespaces:  append(e.podNamespaces(p), specs.LinuxNamespace{Type: specs.PIDNamespace}, specs.LinuxNamespace{Type: specs.MountNamespace}),
		},
	}
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = p.Config.User.mappings()
	if e.parts.Seccomp != nil {
		spec.Linux.Seccomp = e.parts.Seccomp(nil)
	}
	_, err := e.parts.Runtime.Start(ctx, container.Spec{ID: p.pauseID(), OCI: spec, Root: container.Rootfs{Base: root}})
	return err
}

// pauseUser is nobody: the process needs no right at all.
const pauseUser = 65534

func (e *Engine) stopPause(ctx context.Context, p *Pod) error {
	err := e.parts.Runtime.Signal(ctx, p.pauseID(), sigKill, true)
	if fault.Of(err) == fault.NotFound {
		return nil
	}
	// It may have ended before the signal came; Wait tells.
	if _, err := e.parts.Runtime.Wait(ctx, p.pauseID()); err != nil && fault.Of(err) != fault.NotFound {
		return fmt.Errorf("pause process: %w", err)
	}
	return e.parts.Runtime.Delete(ctx, p.pauseID())
}

// processNamespace returns the path of the process namespace of a running
// container of the runtime.
func (e *Engine) processNamespace(ctx context.Context, id string) (string, error) {
	st, err := e.parts.Runtime.Status(ctx, id)
	if err != nil {
		return "", err
	}
	if st.Phase != container.Running {
		return "", fmt.Errorf("its process has ended: %w", fault.Precondition)
	}
	return fmt.Sprintf("/proc/%d/ns/pid", st.PID), nil
}
