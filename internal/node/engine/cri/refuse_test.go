package cri_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// leaves calls visit for every field of kind below m, however deep, with the
// message that holds it. What leads there is made, and taken away afterwards.
func leaves(path string, m protoreflect.Message, kind protoreflect.Kind, visit func(path string, in protoreflect.Message, f protoreflect.FieldDescriptor)) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		at := strings.TrimPrefix(path+"."+string(f.Name()), ".")
		switch {
		case f.Kind() == kind && !f.IsMap():
			visit(at, m, f)
		case f.Kind() != protoreflect.MessageKind || f.IsMap():
		case f.IsList():
			had := m.Has(f)
			list := m.Mutable(f).List()
			n := list.Len()
			leaves(fmt.Sprintf("%s[%d]", at, n), list.AppendMutable().Message(), kind, visit)
			if list.Truncate(n); !had {
				m.Clear(f)
			}
		default:
			had := m.Has(f)
			leaves(at, m.Mutable(f).Message(), kind, visit)
			if !had {
				m.Clear(f)
			}
		}
	}
}

// with sets the field to v while do runs.
func with(in protoreflect.Message, f protoreflect.FieldDescriptor, v protoreflect.Value, do func()) {
	if f.IsList() {
		list := in.Mutable(f).List()
		list.Append(v)
		do()
		list.Truncate(list.Len() - 1)
		return
	}
	old := in.Get(f)
	in.Set(f, v)
	do()
	in.Set(f, old)
}

// requests are whole ones, by the call that they are for.
func (n *node) requests(pod string) map[string]proto.Message {
	return map[string]proto.Message{
		"RunPodSandbox": &runtime.RunPodSandboxRequest{Config: podRequest("next")},
		"CreateContainer": &runtime.CreateContainerRequest{PodSandboxId: pod, Config: &runtime.ContainerConfig{
			Metadata: &runtime.ContainerMetadata{Name: "main"}, Image: &runtime.ImageSpec{Image: "web:1"},
		}},
		"ListPodSandbox":            &runtime.ListPodSandboxRequest{},
		"ListContainers":            &runtime.ListContainersRequest{},
		"UpdatePodSandboxResources": &runtime.UpdatePodSandboxResourcesRequest{PodSandboxId: pod},
		"PullImage":                 &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "web:1"}},
	}
}

func (n *node) send(call string, req proto.Message) (err error) {
	ctx := n.t.Context()
	switch req := req.(type) {
	case *runtime.RunPodSandboxRequest:
		_, err = n.RunPodSandbox(ctx, req)
	case *runtime.CreateContainerRequest:
		_, err = n.CreateContainer(ctx, req)
	case *runtime.ListPodSandboxRequest:
		_, err = n.ListPodSandbox(ctx, req)
	case *runtime.ListContainersRequest:
		_, err = n.ListContainers(ctx, req)
	case *runtime.UpdatePodSandboxResourcesRequest:
		_, err = n.UpdatePodSandboxResources(ctx, req)
	case *runtime.PullImageRequest:
		_, err = n.images.PullImage(ctx, req)
	default:
		n.t.Fatalf("no such call: %s", call)
	}
	return err
}

func TestEveryFieldOfARequest(t *testing.T) {
	n := newNode(t)
	pod := n.pod("a")
	for name, tt := range map[string]struct {
		kind  protoreflect.Kind
		value protoreflect.Value
	}{
		"an enumeration's value that is not defined": {protoreflect.EnumKind, protoreflect.ValueOfEnum(99)},
		"an enumeration's value below zero":          {protoreflect.EnumKind, protoreflect.ValueOfEnum(-1)},
		"text with a zero byte":                      {protoreflect.StringKind, protoreflect.ValueOfString("/a\x00b")},
	} {
		t.Run(name, func(t *testing.T) {
			fields := 0
			for call, req := range n.requests(pod) {
				leaves("", req.ProtoReflect(), tt.kind, func(path string, in protoreflect.Message, f protoreflect.FieldDescriptor) {
					with(in, f, tt.value, func() {
						fields++
						err := n.send(call, req)
						if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), path) {
							t.Errorf("%s with %s = %v: %v; want InvalidArgument and the field's name", call, path, tt.value, err)
						}
					})
				})
			}
			if fields < 10 {
				t.Errorf("only %d fields were tried", fields)
			}
		})
	}
	n.nothingMade(pod)
}

// nothingMade checks that there is one pod and no container.
func (n *node) nothingMade(pod string) {
	n.t.Helper()
	pods, err := n.ListPodSandbox(n.t.Context(), &runtime.ListPodSandboxRequest{})
	if err != nil || len(pods.Items) != 1 || pods.Items[0].Id != pod {
		n.t.Errorf("pods: %v, %v; want none but the test's", pods.GetItems(), err)
	}
	list, err := n.ListContainers(n.t.Context(), &runtime.ListContainersRequest{})
	if err != nil || len(list.Containers) != 0 {
		n.t.Errorf("containers: %v, %v; want none", list.GetContainers(), err)
	}
}

func TestPodsThatAreRefused(t *testing.T) {
	n := newNode(t)
	pod := n.pod("a")
	linux := func(c *runtime.PodSandboxConfig) *runtime.LinuxPodSandboxConfig {
		c.Linux = &runtime.LinuxPodSandboxConfig{SecurityContext: &runtime.LinuxSandboxSecurityContext{NamespaceOptions: &runtime.NamespaceOption{Pid: runtime.NamespaceMode_CONTAINER}}}
		return c.Linux
	}
	users := func(c *runtime.PodSandboxConfig, maps ...*runtime.IDMapping) {
		linux(c).SecurityContext.NamespaceOptions.UsernsOptions = &runtime.UserNamespace{Uids: maps, Gids: maps}
	}
	const last = ^uint32(0)
	for name, tt := range map[string]struct {
		change func(c *runtime.PodSandboxConfig)
		field  string
	}{
		"no metadata":                    {func(c *runtime.PodSandboxConfig) { c.Metadata = nil }, "metadata"},
		"no name":                        {func(c *runtime.PodSandboxConfig) { c.Metadata.Name = "" }, "metadata.name"},
		"a host name of two lines":       {func(c *runtime.PodSandboxConfig) { c.Hostname = "a\nb" }, "hostname"},
		"a host name with a slash":       {func(c *runtime.PodSandboxConfig) { c.Hostname = "../a" }, "hostname"},
		"a relative log directory":       {func(c *runtime.PodSandboxConfig) { c.LogDirectory = "logs" }, "log_directory"},
		"a file for a log directory":     {func(c *runtime.PodSandboxConfig) { c.LogDirectory = "/etc/passwd" }, "log_directory"},
		"a log directory without an end": {func(c *runtime.PodSandboxConfig) { c.LogDirectory = strings.Repeat("/a", 3000) }, "log_directory"},
		"a cgroup with a name too long":  {func(c *runtime.PodSandboxConfig) { linux(c).CgroupParent = "/" + strings.Repeat("a", 300) }, "cgroup_parent"},
		"a cgroup of two lines":          {func(c *runtime.PodSandboxConfig) { linux(c).CgroupParent = "/a\nb" }, "cgroup_parent"},
		"a sysctl of two lines":          {func(c *runtime.PodSandboxConfig) { linux(c).Sysctls = map[string]string{"net.ipv4.ip_forward": "1\n0"} }, "sysctls"},
		"another's processes": {func(c *runtime.PodSandboxConfig) {
			linux(c).SecurityContext.NamespaceOptions.Pid = runtime.NamespaceMode_TARGET
		}, "namespace_options.pid"},
		"a user below zero":       {func(c *runtime.PodSandboxConfig) { linux(c).SecurityContext.RunAsUser = &runtime.Int64Value{Value: -1} }, "run_as_user"},
		"a group beyond the last": {func(c *runtime.PodSandboxConfig) { linux(c).SecurityContext.SupplementalGroups = []int64{1 << 40} }, "supplemental_groups[0]"},
		"the node's users, mapped": {func(c *runtime.PodSandboxConfig) {
			users(c, &runtime.IDMapping{HostId: 1 << 16, Length: 1 << 16})
			c.Linux.SecurityContext.NamespaceOptions.UsernsOptions.Mode = runtime.NamespaceMode_NODE
		}, "userns_options.mode"},
		"a cgroup above":          {func(c *runtime.PodSandboxConfig) { linux(c).CgroupParent = "/a/../.." }, "cgroup_parent"},
		"a server that is a name": {func(c *runtime.PodSandboxConfig) { c.DnsConfig = &runtime.DNSConfig{Servers: []string{"dns"}} }, "dns_config.servers[0]"},
		"a search with a line end": {func(c *runtime.PodSandboxConfig) {
			c.DnsConfig = &runtime.DNSConfig{Searches: []string{"a\nnameserver 1.2.3.4"}}
		}, "dns_config.searches[0]"},
		"an empty option":           {func(c *runtime.PodSandboxConfig) { c.DnsConfig = &runtime.DNSConfig{Options: []string{""}} }, "dns_config.options[0]"},
		"a negative container port": {func(c *runtime.PodSandboxConfig) { c.PortMappings = []*runtime.PortMapping{{ContainerPort: -1}} }, "port_mappings[0].container_port"},
		"a host port beyond the end": {func(c *runtime.PodSandboxConfig) {
			c.PortMappings = []*runtime.PortMapping{{HostPort: 65536, ContainerPort: 1}}
		}, "port_mappings[0].host_port"},
		"a host port without a port": {func(c *runtime.PodSandboxConfig) { c.PortMappings = []*runtime.PortMapping{{HostPort: 80}} }, "port_mappings[0].container_port"},
		"a host address that is none": {func(c *runtime.PodSandboxConfig) {
			c.PortMappings = []*runtime.PortMapping{{HostPort: 80, ContainerPort: 80, HostIp: "here"}}
		}, "port_mappings[0].host_ip"},
		"a host port twice": {func(c *runtime.PodSandboxConfig) {
			c.PortMappings = []*runtime.PortMapping{{HostPort: 80, ContainerPort: 80}, {HostPort: 80, ContainerPort: 81}}
		}, "port_mappings[1].host_port"},
		"a sysctl of the host":  {func(c *runtime.PodSandboxConfig) { linux(c).Sysctls = map[string]string{"vm.swappiness": "1"} }, "vm.swappiness"},
		"a sysctl without name": {func(c *runtime.PodSandboxConfig) { linux(c).Sysctls = map[string]string{"": "1"} }, "sysctls"},
		"a sysctl that climbs":  {func(c *runtime.PodSandboxConfig) { linux(c).Sysctls = map[string]string{"net/../kernel/panic": "1"} }, "sysctls"},
		"a target for the pod":  {func(c *runtime.PodSandboxConfig) { linux(c).SecurityContext.NamespaceOptions.TargetId = "x" }, "target_id"},
		"another's network": {func(c *runtime.PodSandboxConfig) {
			linux(c).SecurityContext.NamespaceOptions.Network = runtime.NamespaceMode_TARGET
		}, "namespace_options"},
		"a group without a user": {func(c *runtime.PodSandboxConfig) { linux(c).SecurityContext.RunAsGroup = &runtime.Int64Value{Value: 1} }, "run_as_group"},
		"a profile for nobody": {func(c *runtime.PodSandboxConfig) {
			linux(c).SecurityContext.Seccomp = &runtime.SecurityProfile{ProfileType: runtime.SecurityProfile_Localhost}
		}, "seccomp.localhost_ref"},
		"negative memory": {func(c *runtime.PodSandboxConfig) {
			linux(c).Resources = &runtime.LinuxContainerResources{MemoryLimitInBytes: -2}
		}, "memory_limit_in_bytes"},
		"negative overhead":      {func(c *runtime.PodSandboxConfig) { linux(c).Overhead = &runtime.LinuxContainerResources{CpuShares: -2} }, "overhead"},
		"users without mappings": {func(c *runtime.PodSandboxConfig) { users(c) }, "userns_options.uids"},
		"users without a root":   {func(c *runtime.PodSandboxConfig) { users(c, &runtime.IDMapping{ContainerId: 1, HostId: 1, Length: 1}) }, "userns_options.uids"},
		"no users at all":        {func(c *runtime.PodSandboxConfig) { users(c, &runtime.IDMapping{}) }, "userns_options.uids[0].length"},
		"users beyond the last":  {func(c *runtime.PodSandboxConfig) { users(c, &runtime.IDMapping{HostId: last, Length: 2}) }, "userns_options.uids[0]"},
		"users that overlap": {func(c *runtime.PodSandboxConfig) {
			users(c, &runtime.IDMapping{Length: 9}, &runtime.IDMapping{ContainerId: 9, HostId: 8, Length: 9})
		}, "userns_options.uids[1]"},
		"own users, node's IPC": {func(c *runtime.PodSandboxConfig) {
			users(c, &runtime.IDMapping{HostId: 1 << 16, Length: 1 << 16})
			c.Linux.SecurityContext.NamespaceOptions.Ipc = runtime.NamespaceMode_NODE
		}, "namespace_options.ipc"},
		"a bandwidth that is none": {func(c *runtime.PodSandboxConfig) {
			c.Annotations = map[string]string{"kubernetes.io/ingress-bandwidth": "much"}
		}, "ingress-bandwidth"},
	} {
		t.Run(name, func(t *testing.T) {
			c := podRequest("next")
			tt.change(c)
			_, err := n.RunPodSandbox(t.Context(), &runtime.RunPodSandboxRequest{Config: c})
			n.refused(t, err, tt.field)
		})
	}
	t.Run("an unknown handler", func(t *testing.T) {
		_, err := n.RunPodSandbox(t.Context(), &runtime.RunPodSandboxRequest{Config: podRequest("next"), RuntimeHandler: "none"})
		n.refused(t, err, "runtime_handler")
	})
	n.nothingMade(pod)
}

// refused wants the client's own fault, or the machine's lack, by name.
func (n *node) refused(t *testing.T, err error, field string) {
	t.Helper()
	code := status.Code(err)
	if code != codes.InvalidArgument && code != codes.FailedPrecondition || !strings.Contains(status.Convert(err).Message(), field) {
		t.Errorf("%v; want InvalidArgument or FailedPrecondition and %s", err, field)
	}
}
