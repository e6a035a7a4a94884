package cri_test

import (
	"strings"
	"testing"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestContainersThatAreRefused(t *testing.T) {
	n := newNode(t)
	pod := n.pod("a")
	sec := func(c *runtime.ContainerConfig) *runtime.LinuxContainerSecurityContext {
		c.Linux = &runtime.LinuxContainerConfig{SecurityContext: &runtime.LinuxContainerSecurityContext{
			Capabilities: &runtime.Capability{}, NamespaceOptions: &runtime.NamespaceOption{Pid: runtime.NamespaceMode_CONTAINER},
		}}
		return c.Linux.SecurityContext
	}
	res := func(r *runtime.LinuxContainerResources) func(c *runtime.ContainerConfig) {
		return func(c *runtime.ContainerConfig) { c.Linux = &runtime.LinuxContainerConfig{Resources: r} }
	}
	mounts := func(m ...*runtime.Mount) func(c *runtime.ContainerConfig) {
		return func(c *runtime.ContainerConfig) { c.Mounts = m }
	}
	ids := []*runtime.IDMapping{{HostId: 1 << 16, Length: 1 << 16}}
	long := strings.Repeat("/a", 3000)
	for name, tt := range map[string]struct {
		change func(c *runtime.ContainerConfig)
		field  string
	}{
		"no metadata":                   {func(c *runtime.ContainerConfig) { c.Metadata = nil }, "metadata"},
		"no name":                       {func(c *runtime.ContainerConfig) { c.Metadata.Name = "" }, "metadata.name"},
		"no image":                      {func(c *runtime.ContainerConfig) { c.Image = nil }, "image"},
		"an empty program":              {func(c *runtime.ContainerConfig) { c.Command = []string{""} }, "command[0]"},
		"a relative directory":          {func(c *runtime.ContainerConfig) { c.WorkingDir = "srv" }, "working_dir"},
		"a log elsewhere":               {func(c *runtime.ContainerConfig) { c.LogPath = "../../etc/passwd" }, "log_path"},
		"an absolute log":               {func(c *runtime.ContainerConfig) { c.LogPath = "/etc/passwd" }, "log_path"},
		"a variable without a name":     {func(c *runtime.ContainerConfig) { c.Envs = []*runtime.KeyValue{{}} }, "envs[0]"},
		"a variable with two names":     {func(c *runtime.ContainerConfig) { c.Envs = []*runtime.KeyValue{{Key: "A=B"}} }, "envs[0].key"},
		"a relative target":             {mounts(&runtime.Mount{HostPath: "/tmp", ContainerPath: "m"}), "container_path"},
		"a relative source":             {mounts(&runtime.Mount{HostPath: "tmp", ContainerPath: "/m"}), "host_path"},
		"neither source nor image":      {mounts(&runtime.Mount{ContainerPath: "/m"}), "host_path"},
		"two mounts at a place":         {mounts(&runtime.Mount{HostPath: "/tmp", ContainerPath: "/m"}, &runtime.Mount{HostPath: "/var", ContainerPath: "/m/"}), "mounts[1].container_path"},
		"recursive but writable":        {mounts(&runtime.Mount{HostPath: "/tmp", ContainerPath: "/m", RecursiveReadOnly: true}), "recursive_read_only"},
		"recursive but shared":          {mounts(&runtime.Mount{HostPath: "/tmp", ContainerPath: "/m", Readonly: true, RecursiveReadOnly: true, Propagation: runtime.MountPropagation_PROPAGATION_BIDIRECTIONAL}), "recursive_read_only"},
		"an image to write to":          {mounts(&runtime.Mount{Image: &runtime.ImageSpec{Image: "web:1"}, ContainerPath: "/m"}), "readonly"},
		"a source behind a file":        {mounts(&runtime.Mount{HostPath: "/etc/passwd/x", ContainerPath: "/m"}), "host_path"},
		"a target without an end":       {mounts(&runtime.Mount{HostPath: "/tmp", ContainerPath: long}), "container_path"},
		"a directory without an end":    {func(c *runtime.ContainerConfig) { c.WorkingDir = long }, "working_dir"},
		"a log without an end":          {func(c *runtime.ContainerConfig) { c.LogPath = long[1:] }, "log_path"},
		"a path too long to mask":       {func(c *runtime.ContainerConfig) { sec(c).MaskedPaths = []string{long} }, "masked_paths[0]"},
		"more groups than there can be": {func(c *runtime.ContainerConfig) { sec(c).SupplementalGroups = make([]int64, 65537) }, "supplemental_groups"},
		"users that the pod does not have": {func(c *runtime.ContainerConfig) {
			sec(c).NamespaceOptions.UsernsOptions = &runtime.UserNamespace{Uids: ids, Gids: ids}
		}, "userns_options"},
		"a profile without an end": {func(c *runtime.ContainerConfig) {
			sec(c).Seccomp = &runtime.SecurityProfile{ProfileType: runtime.SecurityProfile_Localhost, LocalhostRef: "/dev/zero"}
		}, "seccomp"},
		"owners mapped for nobody": {mounts(&runtime.Mount{HostPath: "/tmp", ContainerPath: "/m", UidMappings: ids, GidMappings: ids}), "uidMappings"},
		"a device that is none": {func(c *runtime.ContainerConfig) {
			c.Devices = []*runtime.Device{{HostPath: "/etc/passwd", ContainerPath: "/dev/x", Permissions: "r"}}
		}, "devices[0]"},
		"a device that is not there": {func(c *runtime.ContainerConfig) {
			c.Devices = []*runtime.Device{{HostPath: "/dev/none", ContainerPath: "/dev/x", Permissions: "r"}}
		}, "devices[0]"},
		"a relative device": {func(c *runtime.ContainerConfig) {
			c.Devices = []*runtime.Device{{HostPath: "/dev/null", ContainerPath: "x", Permissions: "r"}}
		}, "devices[0]"},
		"odd permissions": {func(c *runtime.ContainerConfig) {
			c.Devices = []*runtime.Device{{HostPath: "/dev/null", ContainerPath: "/dev/x", Permissions: "rx"}}
		}, "permissions"},
		"an unknown CDI device":        {func(c *runtime.ContainerConfig) { c.CDIDevices = []*runtime.CDIDevice{{Name: "a.com/b=c"}} }, "CDI_devices"},
		"a CDI device that is no name": {func(c *runtime.ContainerConfig) { c.CDIDevices = []*runtime.CDIDevice{{Name: "b"}} }, "CDI_devices"},
		"an unknown capability":        {func(c *runtime.ContainerConfig) { sec(c).Capabilities.AddCapabilities = []string{"FLY"} }, "add_capabilities[0]"},
		"an unknown one to drop":       {func(c *runtime.ContainerConfig) { sec(c).Capabilities.DropCapabilities = []string{"ALL", "FLY"} }, "drop_capabilities[1]"},
		"an unknown ambient one":       {func(c *runtime.ContainerConfig) { sec(c).Capabilities.AddAmbientCapabilities = []string{""} }, "add_ambient_capabilities[0]"},
		"privileged in a pod not so":   {func(c *runtime.ContainerConfig) { sec(c).Privileged = true }, "privileged"},
		"a group without a user":       {func(c *runtime.ContainerConfig) { sec(c).RunAsGroup = &runtime.Int64Value{Value: 1} }, "run_as_group"},
		"a user below zero":            {func(c *runtime.ContainerConfig) { sec(c).RunAsUser = &runtime.Int64Value{Value: -1} }, "run_as_user"},
		"a user twice": {func(c *runtime.ContainerConfig) {
			s := sec(c)
			s.RunAsUser, s.RunAsUsername = &runtime.Int64Value{Value: 1}, "a"
		}, "run_as_user"},
		"a group beyond the last":    {func(c *runtime.ContainerConfig) { sec(c).SupplementalGroups = []int64{1 << 32} }, "supplemental_groups[0]"},
		"a relative path to mask":    {func(c *runtime.ContainerConfig) { sec(c).MaskedPaths = []string{"proc"} }, "masked_paths[0]"},
		"a relative path to protect": {func(c *runtime.ContainerConfig) { sec(c).ReadonlyPaths = []string{"/a", "b"} }, "readonly_paths[1]"},
		"a profile without a file": {func(c *runtime.ContainerConfig) {
			sec(c).Seccomp = &runtime.SecurityProfile{ProfileType: runtime.SecurityProfile_Localhost}
		}, "seccomp.localhost_ref"},
		"a file for the default":        {func(c *runtime.ContainerConfig) { sec(c).Seccomp = &runtime.SecurityProfile{LocalhostRef: "/a"} }, "seccomp.localhost_ref"},
		"an older client's odd word":    {func(c *runtime.ContainerConfig) { sec(c).SeccompProfilePath = "strict" }, "seccomp"}, //nolint:staticcheck // what older clients send
		"a target without its mode":     {func(c *runtime.ContainerConfig) { sec(c).NamespaceOptions.TargetId = "x" }, "target_id"},
		"a mode without its target":     {func(c *runtime.ContainerConfig) { sec(c).NamespaceOptions.Pid = runtime.NamespaceMode_TARGET }, "target_id"},
		"processes that are not shared": {func(c *runtime.ContainerConfig) { sec(c).NamespaceOptions.Pid = runtime.NamespaceMode_POD }, "pid"},
		"the node's network alone":      {func(c *runtime.ContainerConfig) { sec(c).NamespaceOptions.Network = runtime.NamespaceMode_NODE }, "namespace_options.network"},
		"the node's IPC alone":          {func(c *runtime.ContainerConfig) { sec(c).NamespaceOptions.Ipc = runtime.NamespaceMode_NODE }, "namespace_options.ipc"},
		"a period below zero":           {res(&runtime.LinuxContainerResources{CpuPeriod: -1}), "cpu_period"},
		"a quota below none":            {res(&runtime.LinuxContainerResources{CpuQuota: -2}), "cpu_quota"},
		"shares below zero":             {res(&runtime.LinuxContainerResources{CpuShares: -1}), "cpu_shares"},
		"memory below none":             {res(&runtime.LinuxContainerResources{MemoryLimitInBytes: -2}), "memory_limit_in_bytes"},
		"swap below memory":             {res(&runtime.LinuxContainerResources{MemoryLimitInBytes: 2, MemorySwapLimitInBytes: 1}), "memory_swap_limit_in_bytes"},
		"a score beyond the end":        {res(&runtime.LinuxContainerResources{OomScoreAdj: 1001}), "oom_score_adj"},
		"a set that is no list":         {res(&runtime.LinuxContainerResources{CpusetMems: "all"}), "cpuset_mems"},
		"a page of no size":             {res(&runtime.LinuxContainerResources{HugepageLimits: []*runtime.HugepageLimit{{PageSize: "MB"}}}), "hugepage_limits[0]"},
		"a file that is no cgroup's":    {res(&runtime.LinuxContainerResources{Unified: map[string]string{"../x": "1"}}), "unified"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &runtime.ContainerConfig{Metadata: &runtime.ContainerMetadata{Name: "main"}, Image: &runtime.ImageSpec{Image: "web:1"}}
			tt.change(c)
			_, err := n.CreateContainer(t.Context(), &runtime.CreateContainerRequest{PodSandboxId: pod, Config: c})
			n.refused(t, err, tt.field)
		})
	}
	n.nothingMade(pod)
}

func TestCallsThatAreRefused(t *testing.T) {
	n := newNode(t)
	pod := n.pod("a")
	id := n.started(pod, nil)
	ctx := t.Context()
	for name, tt := range map[string]struct {
		call  func() error
		field string
	}{
		"a stop before now": {func() error {
			_, err := n.StopContainer(ctx, &runtime.StopContainerRequest{ContainerId: id, Timeout: -1})
			return err
		}, "timeout"},
		"a command that ends before now": {func() error {
			_, err := n.ExecSync(ctx, &runtime.ExecSyncRequest{ContainerId: id, Cmd: []string{"x"}, Timeout: -1})
			return err
		}, "timeout"},
		"no command": {func() error {
			_, err := n.ExecSync(ctx, &runtime.ExecSyncRequest{ContainerId: id})
			return err
		}, "cmd"},
		"no command to stream": {func() error {
			_, err := n.Exec(ctx, &runtime.ExecRequest{ContainerId: id, Stdout: true})
			return err
		}, "cmd"},
		"a terminal with two outputs": {func() error {
			_, err := n.Exec(ctx, &runtime.ExecRequest{ContainerId: id, Cmd: []string{"x"}, Tty: true, Stdout: true, Stderr: true})
			return err
		}, "tty"},
		"a session that carries nothing": {func() error {
			_, err := n.Attach(ctx, &runtime.AttachRequest{ContainerId: id})
			return err
		}, "stdin"},
		"a port beyond the end": {func() error {
			_, err := n.PortForward(ctx, &runtime.PortForwardRequest{PodSandboxId: pod, Port: []int32{80, 70000}})
			return err
		}, "port[1]"},
		"an update of nothing": {func() error {
			_, err := n.UpdateContainerResources(ctx, &runtime.UpdateContainerResourcesRequest{ContainerId: id})
			return err
		}, "linux"},
		"an update below zero": {func() error {
			_, err := n.UpdateContainerResources(ctx, &runtime.UpdateContainerResourcesRequest{ContainerId: id, Linux: &runtime.LinuxContainerResources{CpuShares: -1}})
			return err
		}, "cpu_shares"},
		"a pod's total below zero": {func() error {
			_, err := n.UpdatePodSandboxResources(ctx, &runtime.UpdatePodSandboxResourcesRequest{PodSandboxId: pod, Resources: &runtime.LinuxContainerResources{CpuShares: -1}})
			return err
		}, "cpu_shares"},
		"a range that is none": {func() error {
			_, err := n.UpdateRuntimeConfig(ctx, &runtime.UpdateRuntimeConfigRequest{RuntimeConfig: &runtime.RuntimeConfig{NetworkConfig: &runtime.NetworkConfig{PodCidr: "10.0.0.0/8,x"}}})
			return err
		}, "pod_cidr"},
		"an image without a name": {func() error {
			_, err := n.images.PullImage(ctx, &runtime.PullImageRequest{})
			return err
		}, "image"},
		"a checkpoint at a relative path": {func() error {
			_, err := n.CheckpointContainer(ctx, &runtime.CheckpointContainerRequest{ContainerId: id, Location: "x"})
			return err
		}, "location"},
		"a checkpoint over a directory": {func() error {
			_, err := n.CheckpointContainer(ctx, &runtime.CheckpointContainerRequest{ContainerId: id, Location: t.TempDir()})
			return err
		}, "location"},
		"no id": {func() error {
			_, err := n.StartContainer(ctx, &runtime.StartContainerRequest{})
			return err
		}, "empty id"},
	} {
		t.Run(name, func(t *testing.T) { n.refused(t, tt.call(), tt.field) })
	}
}
