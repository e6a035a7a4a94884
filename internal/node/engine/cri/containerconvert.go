package cri

import (
	"fmt"
	"strings"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// containerConfig puts a request into the engine's words.
func containerConfig(c *runtime.ContainerConfig) (engine.ContainerConfig, error) {
	meta, img := c.GetMetadata(), c.GetImage()
	switch {
	case meta == nil:
		return engine.ContainerConfig{}, fmt.Errorf("config.metadata is missing: %w", fault.Invalid)
	case img.GetImage() == "":
		return engine.ContainerConfig{}, fmt.Errorf("config.image is missing: %w", fault.Invalid)
	}
	sec := c.GetLinux().GetSecurityContext()
	if err := checkProfile("security_context.seccomp", sec.GetSeccomp()); err != nil {
		return engine.ContainerConfig{}, err
	}
	if err := checkProfile("security_context.apparmor", sec.GetApparmor()); err != nil {
		return engine.ContainerConfig{}, err
	}
	user, err := userNamespace(sec.GetNamespaceOptions().GetUsernsOptions())
	if err != nil {
		return engine.ContainerConfig{}, fmt.Errorf("security_context.%w", err)
	}
	cfg := engine.ContainerConfig{
		Name: meta.GetName(), Attempt: meta.GetAttempt(),
		Image: img.GetImage(), UserImage: img.GetUserSpecifiedImage(), ImageAnnotations: img.GetAnnotations(),
		Labels: c.GetLabels(), Annotations: c.GetAnnotations(),
		Command: c.GetCommand(), Args: c.GetArgs(), Dir: c.GetWorkingDir(),
		Log: c.GetLogPath(), Stdin: c.GetStdin(), StdinOnce: c.GetStdinOnce(), TTY: c.GetTty(),
		Resources: resources(c.GetLinux().GetResources()),
		Security:  security(sec),
	}
	cfg.Security.User = user
	if sig := c.GetStopSignal(); sig != runtime.Signal_RUNTIME_DEFAULT {
		cfg.StopSignal = signalName(sig)
	}
	for i, e := range c.GetEnvs() {
		if strings.Contains(e.GetKey(), "=") {
			return cfg, fmt.Errorf("envs[%d].key %q contains '=': %w", i, e.GetKey(), fault.Invalid)
		}
		cfg.Env = append(cfg.Env, e.GetKey()+"="+string(e.GetValue()))
	}
	for _, m := range c.GetMounts() {
		cfg.Mounts = append(cfg.Mounts, mount(m))
	}
	for _, d := range c.GetDevices() {
		cfg.Devices = append(cfg.Devices, engine.Device{Source: d.GetHostPath(), Target: d.GetContainerPath(), Permissions: d.GetPermissions()})
	}
	for _, d := range c.GetCDIDevices() {
		cfg.CDI = append(cfg.CDI, d.GetName())
	}
	return cfg, nil
}

func security(s *runtime.LinuxContainerSecurityContext) engine.Security {
	sec := engine.Security{
		Privileged: s.GetPrivileged(),
		AddCaps:    s.GetCapabilities().GetAddCapabilities(), DropCaps: s.GetCapabilities().GetDropCapabilities(),
		AmbientCaps: s.GetCapabilities().GetAddAmbientCapabilities(),
		PID:         engine.ModeContainer, Target: s.GetNamespaceOptions().GetTargetId(),
		Username: s.GetRunAsUsername(), Groups: s.GetSupplementalGroups(),
		StrictGroups:   s.GetSupplementalGroupsPolicy() == runtime.SupplementalGroupsPolicy_Strict,
		ReadonlyRootfs: s.GetReadonlyRootfs(), NoNewPrivileges: s.GetNoNewPrivs(),
		MaskedPaths: s.GetMaskedPaths(), ReadonlyPaths: s.GetReadonlyPaths(),
		Seccomp: profile(s.GetSeccomp(), s.GetSeccompProfilePath()), AppArmor: profile(s.GetApparmor(), s.GetApparmorProfile()), SELinux: selinux(s.GetSelinuxOptions()),
	}
	if ns := s.GetNamespaceOptions(); ns != nil {
		sec.PID = mode(ns.GetPid())
		sec.HostNetwork = ns.GetNetwork() == runtime.NamespaceMode_NODE
		sec.HostUsers = ns.GetUsernsOptions() != nil && ns.GetUsernsOptions().GetMode() == runtime.NamespaceMode_NODE
		sec.HostIPC = ns.GetIpc() == runtime.NamespaceMode_NODE
	}
	if s.GetRunAsUser() != nil {
		sec.UID = &s.RunAsUser.Value
	}
	if s.GetRunAsGroup() != nil {
		sec.GID = &s.RunAsGroup.Value
	}
	return sec
}

// profile reads a profile, or what older clients give in its place.
func profile(p *runtime.SecurityProfile, old string) engine.Profile {
	switch {
	case p == nil && old == "":
		return engine.Profile{}
	case p == nil && old == "unconfined", p.GetProfileType() == runtime.SecurityProfile_Unconfined:
		return engine.Profile{Type: engine.ProfileUnconfined}
	case p == nil && old != "runtime/default" && old != "docker/default":
		return engine.Profile{Type: engine.ProfileLocalhost, Ref: old}
	case p.GetProfileType() == runtime.SecurityProfile_Localhost:
		return engine.Profile{Type: engine.ProfileLocalhost, Ref: p.GetLocalhostRef()}
	}
	return engine.Profile{Type: engine.ProfileDefault}
}

func selinux(o *runtime.SELinuxOption) *engine.SELinux {
	if o == nil {
		return nil
	}
	return &engine.SELinux{User: o.GetUser(), Role: o.GetRole(), Type: o.GetType(), Level: o.GetLevel()}
}

func mount(m *runtime.Mount) engine.Mount {
	out := engine.Mount{
		Source: m.GetHostPath(), Target: m.GetContainerPath(), ReadOnly: m.GetReadonly(),
		Recursive: m.GetRecursiveReadOnly(), Relabel: m.GetSelinuxRelabel(),
		Image: m.GetImage().GetImage(), UserImage: m.GetImage().GetUserSpecifiedImage(), ImageSubPath: m.GetImageSubPath(),
		UIDs: idMaps(m.GetUidMappings()), GIDs: idMaps(m.GetGidMappings()),
	}
	switch m.GetPropagation() {
	case runtime.MountPropagation_PROPAGATION_HOST_TO_CONTAINER:
		out.Propagation = "rslave"
	case runtime.MountPropagation_PROPAGATION_BIDIRECTIONAL:
		out.Propagation = "rshared"
	}
	return out
}

func mountBack(m engine.Mount) *runtime.Mount {
	out := &runtime.Mount{
		HostPath: m.Source, ContainerPath: m.Target, Readonly: m.ReadOnly,
		RecursiveReadOnly: m.Recursive, SelinuxRelabel: m.Relabel, ImageSubPath: m.ImageSubPath,
		UidMappings: idMapsBack(m.UIDs), GidMappings: idMapsBack(m.GIDs),
	}
	if m.Image != "" {
		out.Image = &runtime.ImageSpec{Image: m.Image, UserSpecifiedImage: m.UserImage, ImageRef: m.ImageID}
	}
	switch m.Propagation {
	case "rslave":
		out.Propagation = runtime.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	case "rshared":
		out.Propagation = runtime.MountPropagation_PROPAGATION_BIDIRECTIONAL
	}
	return out
}

// signalName turns the interface's SIGRTMINPLUS3 into SIGRTMIN+3.
func signalName(s runtime.Signal) string {
	return strings.NewReplacer("PLUS", "+", "MINUS", "-").Replace(s.String())
}

// signalBack is the way back; what the interface cannot say is its default.
func signalBack(name string) runtime.Signal {
	name = strings.ToUpper(name)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	name = strings.NewReplacer("+", "PLUS", "-", "MINUS").Replace(name)
	return runtime.Signal(runtime.Signal_value[name])
}

func containerStatuses(list []engine.Container) []*runtime.ContainerStatus {
	out := make([]*runtime.ContainerStatus, 0, len(list))
	for i := range list {
		out = append(out, containerStatus(&list[i]))
	}
	return out
}

func containerStatus(c *engine.Container) *runtime.ContainerStatus {
	st := &runtime.ContainerStatus{
		Id: c.ID, Metadata: containerMetadata(c), State: containerState(c),
		CreatedAt: c.Created.UnixNano(), StartedAt: nanos(c.Started), FinishedAt: nanos(c.Finished),
		ExitCode: int32(c.Code), Reason: c.Reason, Message: c.Message,
		Image: imageSpec(c), ImageRef: c.Image.Ref, ImageId: c.Image.ID.String(),
		Labels: c.Config.Labels, Annotations: c.Config.Annotations, LogPath: c.LogPath,
		Resources: resourcesBack(c.Resources), StopSignal: signalBack(c.StopSignal),
	}
	for _, m := range c.Config.Mounts {
		st.Mounts = append(st.Mounts, mountBack(m))
	}
	user := &runtime.LinuxContainerUser{Uid: int64(c.User.UID), Gid: int64(c.User.GID)}
	for _, g := range c.User.AdditionalGids {
		user.SupplementalGroups = append(user.SupplementalGroups, int64(g))
	}
	st.User = &runtime.ContainerUser{Linux: user}
	return st
}

// nanos is zero for a time that has not come: the kubelet reads it as "never".
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func containerMetadata(c *engine.Container) *runtime.ContainerMetadata {
	return &runtime.ContainerMetadata{Name: c.Config.Name, Attempt: c.Config.Attempt}
}

func imageSpec(c *engine.Container) *runtime.ImageSpec {
	return &runtime.ImageSpec{
		Image: c.Image.Name, UserSpecifiedImage: c.Config.UserImage, Annotations: c.Config.ImageAnnotations,
		ImageRef: c.Image.Ref,
	}
}

func containerState(c *engine.Container) runtime.ContainerState {
	switch c.State {
	case engine.Created:
		return runtime.ContainerState_CONTAINER_CREATED
	case engine.Running:
		return runtime.ContainerState_CONTAINER_RUNNING
	case engine.Exited:
		return runtime.ContainerState_CONTAINER_EXITED
	}
	return runtime.ContainerState_CONTAINER_UNKNOWN
}
