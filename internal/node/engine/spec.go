package engine

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"reflect"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/merged"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// builder turns an image's and a request's configuration into what the runtime
// starts. It refuses what is malformed, contradictory or beyond this kernel,
// with the name of the field, and fills in the parts of rec that it decides.
type builder struct {
	engine *Engine
	pod    *Pod
	rec    *Container
	img    image.Image
	dir    string // the container's own directory
	root   container.Rootfs
	spec   *specs.Spec
}

// build returns the runtime's description of the container. The order matters
// only where a step reads what an earlier one has written.
func (b *builder) build(ctx context.Context) (container.Spec, error) {
	cfg := &b.rec.Config
	b.spec = &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: b.root.Base, Readonly: cfg.Security.ReadonlyRootfs},
		Process: &specs.Process{Terminal: cfg.TTY, Rlimits: b.engine.cfg.Rlimits},
		Linux:   &specs.Linux{CgroupsPath: b.engine.cgroupPath(b.pod, b.rec.ID)},
	}
	for _, step := range []func(context.Context) error{
		b.check, b.process, b.user, b.capabilities, b.namespaces, b.mounts,
		b.volumes, b.requestedMounts, b.devices, b.resources, b.security, b.stopSignal,
	} {
		if err := step(ctx); err != nil {
			return container.Spec{}, err
		}
	}
	if err := b.injectDevices(); err != nil {
		return container.Spec{}, err
	}
	b.annotations()
	spec := container.Spec{
		ID: b.rec.ID, OCI: b.spec, Root: b.root,
		Log: b.rec.LogPath, LogSize: cfg.LogSize, LogFiles: cfg.LogFiles,
		Stdin: cfg.Stdin, StdinOnce: cfg.StdinOnce, HoldOutput: cfg.Hold, Runtime: b.pod.Config.Handler,
	}
	err := b.chooseRuntime(ctx, &spec)
	return spec, err
}

// check refuses what contradicts itself.
func (b *builder) check(context.Context) error {
	s := &b.rec.Config.Security
	switch {
	case s.Privileged && !b.pod.Config.Privileged && b.pod.Config.Owner == OwnerCRI:
		return fmt.Errorf("security_context.privileged: the pod is not privileged: %w", fault.Precondition)
	case s.GID != nil && s.UID == nil && s.Username == "":
		return fmt.Errorf("security_context.run_as_group without run_as_user: %w", fault.Invalid)
	case s.UID != nil && s.Username != "":
		return fmt.Errorf("security_context.run_as_user and run_as_username: %w: give one", fault.Invalid)
	case s.PID == ModeTarget && s.Target == "":
		return fmt.Errorf("security_context.namespace_options.target_id is empty: %w", fault.Invalid)
	case s.PID != ModeTarget && s.Target != "":
		return fmt.Errorf("security_context.namespace_options.target_id with pid %s: %w", s.PID, fault.Invalid)
	case s.PID == ModeNode && b.pod.Config.User != nil:
		return fmt.Errorf("security_context.namespace_options.pid is the node's, which a pod with userns_options cannot share: %w", fault.Invalid)
	case s.User != nil && !sameUsers(s.User, b.pod.Config.User), s.HostUsers && b.pod.Config.User != nil:
		return fmt.Errorf("security_context.namespace_options.userns_options are not the pod's: %w", fault.Invalid)
	case s.HostNetwork && b.pod.Config.Net != ModeNode:
		return fmt.Errorf("security_context.namespace_options.network is the node's, but the pod's is its own: %w", fault.Invalid)
	case s.HostIPC && b.pod.Config.IPC != ModeNode:
		return fmt.Errorf("security_context.namespace_options.ipc is the node's, but the pod's is its own: %w", fault.Invalid)
	}
	for field, paths := range map[string][]string{"masked_paths": s.MaskedPaths, "readonly_paths": s.ReadonlyPaths} {
		for i, p := range paths {
			if !path.IsAbs(p) {
				return fmt.Errorf("security_context.%s[%d]: %q is not absolute: %w", field, i, p, fault.Invalid)
			}
			if err := checkPath(fmt.Sprintf("security_context.%s[%d]", field, i), p); err != nil {
				return err
			}
		}
	}
	return checkPaths(&b.rec.Config)
}

// checkPaths refuses paths that lead elsewhere than they may.
func checkPaths(cfg *ContainerConfig) error {
	switch {
	case cfg.Dir != "" && !path.IsAbs(cfg.Dir):
		return fmt.Errorf("working_dir %q is not absolute: %w", cfg.Dir, fault.Invalid)
	case cfg.Log != "" && !filepath.IsLocal(cfg.Log):
		return fmt.Errorf("log_path %q leads out of the pod's log_directory: %w", cfg.Log, fault.Invalid)
	}
	if err := checkPath("working_dir", cfg.Dir); err != nil {
		return err
	}
	if err := checkPath("log_path", cfg.Log); err != nil {
		return err
	}
	seen := map[string]*Mount{}
	for i := range cfg.Mounts {
		m := &cfg.Mounts[i]
		at := path.Clean(m.Target)
		if other := seen[at]; other != nil && !reflect.DeepEqual(m, other) {
			return fmt.Errorf("mounts[%d].container_path: %s is mounted twice: %w", i, m.Target, fault.Invalid)
		}
		seen[at] = m
	}
	return nil
}

func (b *builder) stopSignal(context.Context) error {
	name := b.rec.Config.StopSignal
	if name == "" {
		name = b.img.Config.Config.StopSignal
	}
	if name == "" {
		name = "SIGTERM"
	}
	if _, err := signalNumber(name); err != nil {
		return fmt.Errorf("stop_signal: %w", err)
	}
	b.rec.StopSignal = name
	return nil
}

// image returns the image's filesystem as far as it is read-only.
func (b *builder) image() merged.FS {
	root := b.root
	root.Upper = ""
	return layersOf(root)
}

// layersOf returns a container's filesystem with what it has written, if
// anything.
func layersOf(root container.Rootfs) merged.FS {
	dirs := root.Lower
	if root.Upper != "" {
		dirs = append([]string{root.Upper}, dirs...)
	}
	layers := make([]string, len(dirs))
	for i, l := range dirs {
		layers[i] = l
		if !filepath.IsAbs(l) {
			layers[i] = filepath.Join(root.Base, l)
		}
	}
	return merged.FS{Layers: layers}
}

// podNamespaces are those that all of the pod's containers join. A namespace
// that is left out is the host's.
func (e *Engine) podNamespaces(p *Pod) []specs.LinuxNamespace {
	var out []specs.LinuxNamespace
	for _, ns := range []struct {
		kind specs.LinuxNamespaceType
		path string
	}{
		{specs.NetworkNamespace, p.Namespaces.Net},
		{specs.IPCNamespace, p.Namespaces.IPC},
		{specs.UTSNamespace, p.Namespaces.UTS},
		{specs.UserNamespace, p.Namespaces.User},
	} {
		if ns.path != "" {
			out = append(out, specs.LinuxNamespace{Type: ns.kind, Path: ns.path})
		}
	}
	if p.Config.Net == ModeContainer {
		out = append(out, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	return out
}

func (b *builder) namespaces(ctx context.Context) error {
	ns := append(b.engine.podNamespaces(b.pod), specs.LinuxNamespace{Type: specs.MountNamespace})
	if b.engine.machine.unified && !b.rec.Config.Security.Privileged {
		ns = append(ns, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	pid, err := b.pidNamespace(ctx)
	if err != nil {
		return fmt.Errorf("security_context.namespace_options.pid: %w", err)
	}
	b.spec.Linux.Namespaces = append(ns, pid...)
	b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = b.pod.Config.User.mappings()
	return nil
}

func (b *builder) pidNamespace(ctx context.Context) ([]specs.LinuxNamespace, error) {
	s := &b.rec.Config.Security
	holder := ""
	switch s.PID {
	case ModeNode:
		return nil, nil
	case ModePod:
		if !b.pod.Pause {
			return nil, fmt.Errorf("the pod does not share its process namespace: %w", fault.Invalid)
		}
		holder = b.pod.pauseID()
	case ModeTarget:
		target, err := b.engine.Container(b.pod.Config.Owner, s.Target)
		if err != nil {
			return nil, fmt.Errorf("target_id: %w", err)
		}
		if target.PodID != b.pod.ID {
			return nil, fmt.Errorf("target_id: container %s is of another pod: %w", target.ID, fault.Invalid)
		}
		if target.Config.Security.PID == ModeNode {
			return nil, nil
		}
		holder = target.ID
	default:
		return []specs.LinuxNamespace{{Type: specs.PIDNamespace}}, nil
	}
	path, err := b.engine.processNamespace(ctx, holder)
	if err != nil {
		return nil, err
	}
	return []specs.LinuxNamespace{{Type: specs.PIDNamespace, Path: path}}, nil
}
