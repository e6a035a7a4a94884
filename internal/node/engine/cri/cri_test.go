package cri_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/engine/cri"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/fake"
	"github.com/sampan-cloud/sampan/test/need"
)

// node is a CRI server on fakes, and a client connected to its socket.
type node struct {
	runtime.RuntimeServiceClient
	images  runtime.ImageServiceClient
	t       *testing.T
	runtime *fake.Runtime
	store   *fake.Images
}

func newNode(t *testing.T) *node {
	t.Helper()
	need.Root(t) // a pod's /dev/shm is mounted
	dir := t.TempDir()
	n := &node{t: t, runtime: fake.NewRuntime(), store: fake.NewImages()}
	n.store.Add("web:1", ocispec.ImageConfig{Cmd: []string{"/web"}, User: "7:8"}, nil)
	log := slog.New(slog.DiscardHandler)
	e, err := engine.Open(engine.Config{Dir: filepath.Join(dir, "engine")}, engine.Parts{
		Runtime: n.runtime, Network: fake.NewNetwork(), Snapshots: fake.NewSnapshots(t), Images: n.store,
		Seccomp: func([]string) *specs.LinuxSeccomp { return nil },
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "cri.sock")
	server := cri.New(cri.Config{Socket: socket, ImageDir: dir}, e, log)
	ctx, cancel := context.WithCancel(context.Background())
	var done []chan error
	for _, run := range []func(context.Context, func()) error{e.Run, server.Run} {
		ready, end := make(chan struct{}), make(chan error, 1)
		go func() { end <- run(ctx, func() { close(ready) }) }()
		select {
		case <-ready:
		case err := <-end:
			t.Fatal(err)
		}
		done = append(done, end)
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	n.RuntimeServiceClient, n.images = runtime.NewRuntimeServiceClient(conn), runtime.NewImageServiceClient(conn)
	t.Cleanup(func() {
		list, err := n.ListPodSandbox(context.Background(), &runtime.ListPodSandboxRequest{})
		for _, p := range list.GetItems() {
			_, err2 := n.RemovePodSandbox(context.Background(), &runtime.RemovePodSandboxRequest{PodSandboxId: p.Id})
			err = errors.Join(err, err2)
		}
		cancel()
		for _, end := range done {
			err = errors.Join(err, <-end)
		}
		if err = errors.Join(err, conn.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func podRequest(name string) *runtime.PodSandboxConfig {
	return &runtime.PodSandboxConfig{
		Metadata: &runtime.PodSandboxMetadata{Name: name, Namespace: "shop", Uid: "u"},
		Labels:   map[string]string{"app": name},
	}
}

func (n *node) pod(name string) string {
	n.t.Helper()
	resp, err := n.RunPodSandbox(n.t.Context(), &runtime.RunPodSandboxRequest{Config: podRequest(name)})
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.PodSandboxId
}

func (n *node) started(pod string, change func(*runtime.ContainerConfig)) string {
	n.t.Helper()
	cfg := &runtime.ContainerConfig{Metadata: &runtime.ContainerMetadata{Name: "main"}, Image: &runtime.ImageSpec{Image: "web:1"}}
	if change != nil {
		change(cfg)
	}
	c, err := n.CreateContainer(n.t.Context(), &runtime.CreateContainerRequest{PodSandboxId: pod, Config: cfg})
	if err == nil {
		_, err = n.StartContainer(n.t.Context(), &runtime.StartContainerRequest{ContainerId: c.ContainerId})
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return c.ContainerId
}

func TestAPodOverTheSocket(t *testing.T) {
	n := newNode(t)
	pod := n.pod("web")
	ctr := n.started(pod, func(c *runtime.ContainerConfig) {
		c.Linux = &runtime.LinuxContainerConfig{Resources: &runtime.LinuxContainerResources{CpuShares: 512}}
		c.StopSignal = runtime.Signal_SIGRTMINPLUS3
		c.Mounts = []*runtime.Mount{{HostPath: "/tmp", ContainerPath: "/m", Readonly: true}}
	})
	p, err := n.PodSandboxStatus(t.Context(), &runtime.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: true})
	if err != nil || p.Status.State != runtime.PodSandboxState_SANDBOX_READY || p.Status.Network.Ip == "" || len(p.Info) == 0 || len(p.ContainersStatuses) != 1 {
		t.Fatalf("PodSandboxStatus = %v, %v", p, err)
	}
	c, err := n.ContainerStatus(t.Context(), &runtime.ContainerStatusRequest{ContainerId: ctr})
	if err != nil {
		t.Fatal(err)
	}
	st := c.Status
	for what, ok := range map[string]bool{
		"running":             st.State == runtime.ContainerState_CONTAINER_RUNNING && st.StartedAt > 0 && st.FinishedAt == 0,
		"the image's user":    st.User.GetLinux().GetUid() == 7 && st.User.GetLinux().GetGid() == 8,
		"the image by digest": strings.HasPrefix(st.ImageRef, "web@sha256:") && st.Image.Image == "web:1",
		"its limits":          st.Resources.GetLinux().GetCpuShares() == 512,
		"its mount":           len(st.Mounts) == 1 && st.Mounts[0].ContainerPath == "/m" && st.Mounts[0].Readonly,
		"its stop signal":     st.StopSignal == runtime.Signal_SIGRTMINPLUS3,
	} {
		if !ok {
			t.Errorf("the status does not tell %s: %v", what, st)
		}
	}
	n.runtime.Exit(ctr, 0, false)
	for range 200 {
		c, err = n.ContainerStatus(t.Context(), &runtime.ContainerStatusRequest{ContainerId: ctr})
		if err != nil || c.Status.State == runtime.ContainerState_CONTAINER_EXITED {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil || c.Status.Reason != "Completed" || c.Status.FinishedAt == 0 {
		t.Errorf("after its end: %v, %v", c, err)
	}
}

func TestFiltersOfLists(t *testing.T) {
	n := newNode(t)
	a, b := n.pod("a"), n.pod("b")
	n.started(a, nil)
	for name, tt := range map[string]struct {
		filter *runtime.PodSandboxFilter
		want   []string
	}{
		"none":                    {nil, []string{a, b}},
		"the start of an ID":      {&runtime.PodSandboxFilter{Id: a[:12]}, []string{a}},
		"a label":                 {&runtime.PodSandboxFilter{LabelSelector: map[string]string{"app": "b"}}, []string{b}},
		"a state that none is in": {&runtime.PodSandboxFilter{State: &runtime.PodSandboxStateValue{State: runtime.PodSandboxState_SANDBOX_NOTREADY}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := n.ListPodSandbox(t.Context(), &runtime.ListPodSandboxRequest{Filter: tt.filter})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range resp.Items {
				got = append(got, p.Id)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("ListPodSandbox = %q, want %q", got, tt.want)
			}
		})
	}
	list, err := n.ListContainers(t.Context(), &runtime.ListContainersRequest{Filter: &runtime.ContainerFilter{PodSandboxId: b}})
	if err != nil || len(list.Containers) != 0 {
		t.Errorf("containers of the empty pod: %v, %v", list, err)
	}
}

func TestCodes(t *testing.T) {
	n := newNode(t)
	pod := n.pod("web")
	ctr := n.started(pod, nil)
	for name, tt := range map[string]struct {
		call func(context.Context) error
		want codes.Code
	}{
		"status of an unknown pod": {func(ctx context.Context) error {
			_, err := n.PodSandboxStatus(ctx, &runtime.PodSandboxStatusRequest{PodSandboxId: "none"})
			return err
		}, codes.NotFound},
		"stop of an unknown pod": {func(ctx context.Context) error {
			_, err := n.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: "none"})
			return err
		}, codes.OK},
		"removal of an unknown container": {func(ctx context.Context) error {
			_, err := n.RemoveContainer(ctx, &runtime.RemoveContainerRequest{ContainerId: "none"})
			return err
		}, codes.OK},
		"the same pod again": {func(ctx context.Context) error {
			_, err := n.RunPodSandbox(ctx, &runtime.RunPodSandboxRequest{Config: podRequest("web")})
			return err
		}, codes.AlreadyExists},
		"a pod without metadata": {func(ctx context.Context) error {
			_, err := n.RunPodSandbox(ctx, &runtime.RunPodSandboxRequest{Config: &runtime.PodSandboxConfig{}})
			return err
		}, codes.InvalidArgument},
		"a second start": {func(ctx context.Context) error {
			_, err := n.StartContainer(ctx, &runtime.StartContainerRequest{ContainerId: ctr})
			return err
		}, codes.FailedPrecondition},
		"an empty command": {func(ctx context.Context) error {
			_, err := n.ExecSync(ctx, &runtime.ExecSyncRequest{ContainerId: ctr})
			return err
		}, codes.InvalidArgument},
		"credentials that are none": {func(ctx context.Context) error {
			_, err := n.images.PullImage(ctx, &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "x"}, Auth: &runtime.AuthConfig{Auth: "?"}})
			return err
		}, codes.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.call(t.Context()); status.Code(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestExecSync(t *testing.T) {
	n := newNode(t)
	ctr := n.started(n.pod("web"), nil)
	n.runtime.ExecText, n.runtime.ExecCode = "out", 3
	resp, err := n.ExecSync(t.Context(), &runtime.ExecSyncRequest{ContainerId: ctr, Cmd: []string{"x"}})
	if err != nil || string(resp.Stdout) != "out" || resp.ExitCode != 3 {
		t.Errorf("ExecSync = %q, %d, %v; want out, 3", resp.GetStdout(), resp.GetExitCode(), err)
	}
	n.runtime.ExecWait = true
	_, err = n.ExecSync(t.Context(), &runtime.ExecSyncRequest{ContainerId: ctr, Cmd: []string{"x"}, Timeout: 1})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("ExecSync past its timeout = %v, want DeadlineExceeded", err)
	}
}

func TestExecStreams(t *testing.T) {
	n := newNode(t)
	ctr := n.started(n.pod("web"), nil)
	n.runtime.ExecText = "hello "
	run := func(stdin string) (string, error) {
		resp, err := n.Exec(t.Context(), &runtime.ExecRequest{ContainerId: ctr, Cmd: []string{"cat"}, Stdin: true, Stdout: true})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(resp.Url)
		if err != nil {
			t.Fatal(err)
		}
		ex, err := remotecommand.NewSPDYExecutor(&rest.Config{}, "POST", u)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = ex.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(stdin), Stdout: &out})
		return out.String(), err
	}
	if got, err := run("you"); err != nil || got != "hello you" {
		t.Errorf("output = %q, %v; want what was sent after hello", got, err)
	}
	n.runtime.ExecCode = 5
	var exit utilexec.CodeExitError
	if _, err := run(""); !errors.As(err, &exit) || exit.Code != 5 {
		t.Errorf("a failed command = %v, want exit code 5", err)
	}
}

func TestEventsCarryStatuses(t *testing.T) {
	n := newNode(t)
	stream, err := n.GetContainerEvents(t.Context(), &runtime.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	pod := n.pod("web")
	ev, err := stream.Recv()
	if err != nil || ev.ContainerId != pod || ev.PodSandboxStatus.GetId() != pod {
		t.Errorf("first event = %v, %v; want the pod's", ev, err)
	}
}

func TestImages(t *testing.T) {
	n := newNode(t)
	n.store.AddRemote("far:1", ocispec.ImageConfig{User: "web"}, nil)
	name := &runtime.ImageSpec{Image: "far:1"}
	st, err := n.images.ImageStatus(t.Context(), &runtime.ImageStatusRequest{Image: name})
	if err != nil || st.Image != nil {
		t.Errorf("status before the pull = %v, %v; want none", st, err)
	}
	pull, err := n.images.PullImage(t.Context(), &runtime.PullImageRequest{Image: name, Auth: &runtime.AuthConfig{Auth: "dTpw"}})
	if err != nil {
		t.Fatal(err)
	}
	if a := n.store.Auths["far:1"]; a == nil || a.Username != "u" || a.Password != "p" {
		t.Errorf("credentials = %+v, want u and p", a)
	}
	st, err = n.images.ImageStatus(t.Context(), &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: pull.ImageRef}, Verbose: true})
	if err != nil || st.Image.GetUsername() != "web" || len(st.Info) == 0 {
		t.Errorf("status by what the pull returned = %v, %v", st, err)
	}
	// The kubelet deletes what is not pinned when the disk fills up.
	here, err := n.images.ImageStatus(t.Context(), &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: "web:1"}})
	if err != nil || !here.Image.GetPinned() || st.Image.GetPinned() {
		t.Errorf("pinned: %t for an image that is only here, %t for a pulled one, %v; want true, false", here.Image.GetPinned(), st.Image.GetPinned(), err)
	}
	for range 2 {
		if _, err := n.images.RemoveImage(t.Context(), &runtime.RemoveImageRequest{Image: name}); err != nil {
			t.Errorf("RemoveImage = %v", err)
		}
	}
	fs, err := n.images.ImageFsInfo(t.Context(), &runtime.ImageFsInfoRequest{})
	if err != nil || fs.ImageFilesystems[0].UsedBytes.Value != 1000 {
		t.Errorf("ImageFsInfo = %v, %v", fs, err)
	}
}

func TestStatsAndMetrics(t *testing.T) {
	n := newNode(t)
	pod := n.pod("web")
	ctr := n.started(pod, nil)
	st, err := n.ContainerStats(t.Context(), &runtime.ContainerStatsRequest{ContainerId: ctr})
	if err != nil || st.Stats.Cpu.UsageCoreNanoSeconds.Value != uint64(time.Second) || st.Stats.Memory.WorkingSetBytes.Value != 1<<19 {
		t.Errorf("ContainerStats = %v, %v", st, err)
	}
	ps, err := n.PodSandboxStats(t.Context(), &runtime.PodSandboxStatsRequest{PodSandboxId: pod})
	if err != nil || len(ps.Stats.Linux.Containers) != 1 || ps.Stats.Linux.Process.ProcessCount.Value != 1 {
		t.Errorf("PodSandboxStats = %v, %v", ps, err)
	}
	descriptors, err := n.ListMetricDescriptors(t.Context(), &runtime.ListMetricDescriptorsRequest{})
	if err != nil || len(descriptors.Descriptors) < 40 {
		t.Errorf("ListMetricDescriptors = %d, %v", len(descriptors.GetDescriptors()), err)
	}
	metrics, err := n.ListPodSandboxMetrics(t.Context(), &runtime.ListPodSandboxMetricsRequest{})
	if err != nil || len(metrics.PodMetrics) != 1 || metrics.PodMetrics[0].PodSandboxId != pod {
		t.Errorf("ListPodSandboxMetrics = %v, %v", metrics, err)
	}
}

func TestStatusAndConfig(t *testing.T) {
	n := newNode(t)
	st, err := n.Status(t.Context(), &runtime.StatusRequest{Verbose: true})
	if err != nil || len(st.Status.Conditions) != 2 || !st.Features.SupplementalGroupsPolicy || st.Info["config"] == "" {
		t.Errorf("Status = %v, %v", st, err)
	}
	cfg, err := n.RuntimeConfig(t.Context(), &runtime.RuntimeConfigRequest{})
	if err != nil || cfg.Linux.CgroupDriver != runtime.CgroupDriver_CGROUPFS {
		t.Errorf("RuntimeConfig = %v, %v", cfg, err)
	}
}
