package cri

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/network"
)

// Annotations that limit a pod's bandwidth; every CNI runtime reads them.
const (
	ingressAnnotation = "kubernetes.io/ingress-bandwidth"
	egressAnnotation  = "kubernetes.io/egress-bandwidth"
)

// podConfig puts a request into the engine's words.
func podConfig(c *runtime.PodSandboxConfig, handler string) (engine.PodConfig, error) {
	meta := c.GetMetadata()
	if meta == nil {
		return engine.PodConfig{}, fmt.Errorf("config.metadata is missing: %w", fault.Invalid)
	}
	sec := c.GetLinux().GetSecurityContext()
	ns := sec.GetNamespaceOptions()
	cfg := engine.PodConfig{
		Owner: owner, Name: meta.GetName(), Namespace: meta.GetNamespace(), UID: meta.GetUid(), Attempt: meta.GetAttempt(),
		Labels: c.GetLabels(), Annotations: c.GetAnnotations(),
		Hostname: c.GetHostname(), LogDir: c.GetLogDirectory(),
		CgroupParent: c.GetLinux().GetCgroupParent(), Sysctls: c.GetLinux().GetSysctls(), Handler: handler,
		Resources: resources(c.GetLinux().GetResources()), Overhead: resources(c.GetLinux().GetOverhead()),
		Net: mode(ns.GetNetwork()), PID: mode(ns.GetPid()), IPC: mode(ns.GetIpc()),
		Privileged: sec.GetPrivileged(), Seccomp: profile(sec.GetSeccomp(), sec.GetSeccompProfilePath()), AppArmor: profile(sec.GetApparmor(), ""),
		SELinux: selinux(sec.GetSelinuxOptions()),
	}
	if err := checkSandbox(c); err != nil {
		return cfg, err
	}
	// Kubernetes knows no pod network of a container's own, and asks for a shared
	// process namespace in so many words.
	if cfg.Net == engine.ModeContainer {
		cfg.Net = engine.ModePod
	}
	if ns == nil {
		cfg.PID = engine.ModeContainer
	}
	if d := c.GetDnsConfig(); d != nil {
		cfg.DNS = &engine.DNS{Servers: d.GetServers(), Searches: d.GetSearches(), Options: d.GetOptions()}
	}
	var err error
	if cfg.User, err = userNamespace(ns.GetUsernsOptions()); err != nil {
		return cfg, err
	}
	if cfg.Ports, err = ports(c.GetPortMappings()); err != nil {
		return cfg, err
	}
	if cfg.Ingress, err = bandwidth(c.GetAnnotations(), ingressAnnotation); err != nil {
		return cfg, err
	}
	cfg.Egress, err = bandwidth(c.GetAnnotations(), egressAnnotation)
	return cfg, err
}

// checkSandbox refuses what the engine's words would lose.
func checkSandbox(c *runtime.PodSandboxConfig) error {
	sec := c.GetLinux().GetSecurityContext()
	switch {
	case sec.GetRunAsGroup() != nil && sec.GetRunAsUser() == nil:
		return fmt.Errorf("linux.security_context.run_as_group without run_as_user: %w", fault.Invalid)
	case sec.GetNamespaceOptions().GetTargetId() != "":
		return fmt.Errorf("linux.security_context.namespace_options.target_id: a pod has no target: %w", fault.Invalid)
	}
	for i, g := range sec.GetSupplementalGroups() {
		if err := checkID(fmt.Sprintf("linux.security_context.supplemental_groups[%d]", i), g); err != nil {
			return err
		}
	}
	if err := checkID("linux.security_context.run_as_user", sec.GetRunAsUser().GetValue()); err != nil {
		return err
	}
	if err := checkID("linux.security_context.run_as_group", sec.GetRunAsGroup().GetValue()); err != nil {
		return err
	}
	if err := checkProfile("linux.security_context.seccomp", sec.GetSeccomp()); err != nil {
		return err
	}
	return checkProfile("linux.security_context.apparmor", sec.GetApparmor())
}

func mode(m runtime.NamespaceMode) engine.Mode {
	switch m {
	case runtime.NamespaceMode_CONTAINER:
		return engine.ModeContainer
	case runtime.NamespaceMode_NODE:
		return engine.ModeNode
	case runtime.NamespaceMode_TARGET:
		return engine.ModeTarget
	}
	return engine.ModePod
}

func modeBack(m engine.Mode) runtime.NamespaceMode {
	switch m {
	case engine.ModeContainer:
		return runtime.NamespaceMode_CONTAINER
	case engine.ModeNode:
		return runtime.NamespaceMode_NODE
	case engine.ModeTarget:
		return runtime.NamespaceMode_TARGET
	}
	return runtime.NamespaceMode_POD
}

func userNamespace(u *runtime.UserNamespace) (*engine.UserNamespace, error) {
	if u == nil {
		return nil, nil
	}
	if u.GetMode() == runtime.NamespaceMode_NODE {
		if len(u.GetUids())+len(u.GetGids()) > 0 {
			return nil, fmt.Errorf("namespace_options.userns_options.mode NODE with mappings: %w", fault.Invalid)
		}
		return nil, nil
	}
	if u.GetMode() != runtime.NamespaceMode_POD {
		return nil, fmt.Errorf("namespace_options.userns_options.mode %s: %w", u.GetMode(), fault.Invalid)
	}
	return &engine.UserNamespace{UIDs: idMaps(u.GetUids()), GIDs: idMaps(u.GetGids())}, nil
}

func idMaps(in []*runtime.IDMapping) []engine.IDMap {
	var out []engine.IDMap
	for _, m := range in {
		out = append(out, engine.IDMap{Host: m.GetHostId(), Container: m.GetContainerId(), Size: m.GetLength()})
	}
	return out
}

func ports(in []*runtime.PortMapping) ([]network.Port, error) {
	var out []network.Port
	for i, p := range in {
		for name, n := range map[string]int32{"host_port": p.GetHostPort(), "container_port": p.GetContainerPort()} {
			if n < 0 || n > math.MaxUint16 {
				return nil, fmt.Errorf("port_mappings[%d].%s: %d is no port: %w", i, name, n, fault.Invalid)
			}
		}
		if p.GetHostPort() == 0 {
			continue // only says what the container listens on
		}
		port := network.Port{
			Protocol: strings.ToLower(p.GetProtocol().String()),
			HostPort: uint16(p.GetHostPort()), PodPort: uint16(p.GetContainerPort()),
		}
		if p.GetHostIp() != "" {
			addr, err := netip.ParseAddr(p.GetHostIp())
			if err != nil {
				return nil, fmt.Errorf("port_mappings[%d].host_ip: %w: %w", i, fault.Invalid, err)
			}
			port.HostIP = addr
		}
		for _, other := range out {
			if other.HostPort == port.HostPort && other.Protocol == port.Protocol && other.HostIP == port.HostIP {
				return nil, fmt.Errorf("port_mappings[%d].host_port: %s %d is mapped twice: %w", i, port.Protocol, port.HostPort, fault.Invalid)
			}
		}
		out = append(out, port)
	}
	return out, nil
}

func bandwidth(annotations map[string]string, key string) (int64, error) {
	v, ok := annotations[key]
	if !ok {
		return 0, nil
	}
	q, err := resource.ParseQuantity(v)
	if err != nil || q.Sign() <= 0 {
		return 0, fmt.Errorf("annotation %s: %q is not an amount like 10M: %w", key, v, fault.Invalid)
	}
	return q.Value(), nil
}

func podStatus(p *engine.Pod) *runtime.PodSandboxStatus {
	net := &runtime.PodSandboxNetworkStatus{}
	if p.State == engine.PodReady {
		net.Ip = p.IP()
	}
	st := &runtime.PodSandboxStatus{
		Id: p.ID, Metadata: podMetadata(p), State: podState(p), CreatedAt: p.Created.UnixNano(), Network: net,
		Linux: &runtime.LinuxPodSandboxStatus{Namespaces: &runtime.Namespace{Options: &runtime.NamespaceOption{
			Network: modeBack(p.Config.Net), Pid: modeBack(p.Config.PID), Ipc: modeBack(p.Config.IPC),
		}}},
		Labels: p.Config.Labels, Annotations: p.Config.Annotations, RuntimeHandler: p.Config.Handler,
	}
	if u := p.Config.User; u != nil {
		st.Linux.Namespaces.Options.UsernsOptions = &runtime.UserNamespace{
			Mode: runtime.NamespaceMode_POD, Uids: idMapsBack(u.UIDs), Gids: idMapsBack(u.GIDs),
		}
	}
	return st
}

func idMapsBack(in []engine.IDMap) []*runtime.IDMapping {
	var out []*runtime.IDMapping
	for _, m := range in {
		out = append(out, &runtime.IDMapping{HostId: m.Host, ContainerId: m.Container, Length: m.Size})
	}
	return out
}

func podMetadata(p *engine.Pod) *runtime.PodSandboxMetadata {
	c := &p.Config
	return &runtime.PodSandboxMetadata{Name: c.Name, Uid: c.UID, Namespace: c.Namespace, Attempt: c.Attempt}
}

func podState(p *engine.Pod) runtime.PodSandboxState {
	if p.State == engine.PodReady {
		return runtime.PodSandboxState_SANDBOX_READY
	}
	return runtime.PodSandboxState_SANDBOX_NOTREADY
}

// verbose tells all that the engine knows of v, as crictl inspect shows it.
func verbose(v any) (map[string]string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return map[string]string{"info": string(b)}, nil
}

// idMatches tells whether id begins as the filter says; an empty filter lets
// everything through.
func idMatches(filter, id string) bool { return strings.HasPrefix(id, filter) }

func labelsMatch(want, have map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// inPieces sends a long list a few hundred at a time, at least once.
func inPieces[T any](all []T, send func([]T) error) error {
	const piece = 256
	for {
		n := min(piece, len(all))
		if err := send(all[:n]); err != nil {
			return err
		}
		if all = all[n:]; len(all) == 0 {
			return nil
		}
	}
}
