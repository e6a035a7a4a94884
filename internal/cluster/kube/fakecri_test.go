package kube

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fakeCRI is an engine without containers: what is asked for is running at once.
type fakeCRI struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer

	root string // a directory whose filesystem stands for the images'

	mu         sync.Mutex
	next       int
	sandboxes  map[string]*cri.PodSandboxStatus
	containers map[string]*cri.ContainerStatus
	parent     map[string]string // a container's sandbox
	started    map[string]int    // per pod, how many containers were started
}

func startFakeCRI(t *testing.T, socket, root string) *fakeCRI {
	t.Helper()
	f := &fakeCRI{
		root:       root,
		sandboxes:  map[string]*cri.PodSandboxStatus{},
		containers: map[string]*cri.ContainerStatus{},
		parent:     map[string]string{},
		started:    map[string]int{},
	}
	os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(s, f)
	cri.RegisterImageServiceServer(s, f)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return f
}

func (f *fakeCRI) id() string {
	f.next++
	return fmt.Sprintf("%064x", f.next)
}

func (f *fakeCRI) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{Version: "0.1.0", RuntimeName: "fake", RuntimeVersion: "1.0.0", RuntimeApiVersion: "v1"}, nil
}

func (f *fakeCRI) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	return &cri.StatusResponse{
		Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
			{Type: cri.RuntimeReady, Status: true}, {Type: cri.NetworkReady, Status: true},
		}},
		RuntimeHandlers: []*cri.RuntimeHandler{{Name: ""}},
	}, nil
}

func (f *fakeCRI) RuntimeConfig(context.Context, *cri.RuntimeConfigRequest) (*cri.RuntimeConfigResponse, error) {
	return &cri.RuntimeConfigResponse{Linux: &cri.LinuxRuntimeConfiguration{CgroupDriver: cri.CgroupDriver_CGROUPFS}}, nil
}

func (f *fakeCRI) UpdateRuntimeConfig(context.Context, *cri.UpdateRuntimeConfigRequest) (*cri.UpdateRuntimeConfigResponse, error) {
	return &cri.UpdateRuntimeConfigResponse{}, nil
}

func (f *fakeCRI) RunPodSandbox(_ context.Context, r *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.id()
	f.sandboxes[id] = &cri.PodSandboxStatus{
		Id: id, Metadata: r.Config.Metadata, Labels: r.Config.Labels, Annotations: r.Config.Annotations,
		CreatedAt: time.Now().UnixNano(), State: cri.PodSandboxState_SANDBOX_READY,
		Network: &cri.PodSandboxNetworkStatus{Ip: fmt.Sprintf("10.244.%d.%d", f.next>>8&255, f.next&255)},
		Linux:   &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: &cri.NamespaceOption{}}},
	}
	return &cri.RunPodSandboxResponse{PodSandboxId: id}, nil
}

func (f *fakeCRI) StopPodSandbox(_ context.Context, r *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sandboxes[r.PodSandboxId]; s != nil {
		s.State = cri.PodSandboxState_SANDBOX_NOTREADY
	}
	return &cri.StopPodSandboxResponse{}, nil
}

func (f *fakeCRI) RemovePodSandbox(_ context.Context, r *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sandboxes, r.PodSandboxId)
	return &cri.RemovePodSandboxResponse{}, nil
}

func (f *fakeCRI) PodSandboxStatus(_ context.Context, r *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sandboxes[r.PodSandboxId]
	if s == nil {
		return nil, status.Error(codes.NotFound, "no such sandbox")
	}
	return &cri.PodSandboxStatusResponse{Status: s}, nil
}

func (f *fakeCRI) ListPodSandbox(_ context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &cri.ListPodSandboxResponse{}
	for _, s := range f.sandboxes {
		if q := r.Filter; q != nil && (q.Id != "" && q.Id != s.Id || q.State != nil && q.State.State != s.State || !matches(q.LabelSelector, s.Labels)) {
			continue
		}
		out.Items = append(out.Items, &cri.PodSandbox{Id: s.Id, Metadata: s.Metadata, State: s.State, CreatedAt: s.CreatedAt, Labels: s.Labels, Annotations: s.Annotations})
	}
	return out, nil
}

func (f *fakeCRI) CreateContainer(_ context.Context, r *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.id()
	f.parent[id] = r.PodSandboxId
	f.containers[id] = &cri.ContainerStatus{
		Id: id, Metadata: r.Config.Metadata, Image: r.Config.Image, ImageRef: "sha256:fake", ImageId: "sha256:fake",
		Labels: r.Config.Labels, Annotations: r.Config.Annotations, Mounts: r.Config.Mounts,
		State: cri.ContainerState_CONTAINER_CREATED, CreatedAt: time.Now().UnixNano(),
		LogPath: r.SandboxConfig.LogDirectory + "/" + r.Config.LogPath,
	}
	return &cri.CreateContainerResponse{ContainerId: id}, nil
}

func (f *fakeCRI) StartContainer(_ context.Context, r *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.containers[r.ContainerId]
	c.State, c.StartedAt = cri.ContainerState_CONTAINER_RUNNING, time.Now().UnixNano()
	f.started[f.sandboxes[f.parent[c.Id]].Metadata.Name]++
	line := time.Now().Format(time.RFC3339Nano) + " stdout F hello\n"
	return &cri.StartContainerResponse{}, os.WriteFile(c.LogPath, []byte(line), 0o644)
}

func (f *fakeCRI) StopContainer(_ context.Context, r *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.containers[r.ContainerId]; c != nil && c.State == cri.ContainerState_CONTAINER_RUNNING {
		c.State, c.FinishedAt, c.ExitCode = cri.ContainerState_CONTAINER_EXITED, time.Now().UnixNano(), 143
	}
	return &cri.StopContainerResponse{}, nil
}

func (f *fakeCRI) RemoveContainer(_ context.Context, r *cri.RemoveContainerRequest) (*cri.RemoveContainerResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.containers, r.ContainerId)
	return &cri.RemoveContainerResponse{}, nil
}

func (f *fakeCRI) ContainerStatus(_ context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.containers[r.ContainerId]
	if c == nil {
		return nil, status.Error(codes.NotFound, "no such container")
	}
	return &cri.ContainerStatusResponse{Status: c}, nil
}

func (f *fakeCRI) ListContainers(_ context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &cri.ListContainersResponse{}
	for _, c := range f.containers {
		if q := r.Filter; q != nil && (q.Id != "" && q.Id != c.Id || q.PodSandboxId != "" && q.PodSandboxId != f.parent[c.Id] ||
			q.State != nil && q.State.State != c.State || !matches(q.LabelSelector, c.Labels)) {
			continue
		}
		out.Containers = append(out.Containers, &cri.Container{
			Id: c.Id, PodSandboxId: f.parent[c.Id], Metadata: c.Metadata, Image: c.Image, ImageRef: c.ImageRef, ImageId: c.ImageId,
			State: c.State, CreatedAt: c.CreatedAt, Labels: c.Labels, Annotations: c.Annotations,
		})
	}
	return out, nil
}

// ListContainerStats says that every container uses an eighth of a core and 16 MiB.
func (f *fakeCRI) ListContainerStats(context.Context, *cri.ListContainerStatsRequest) (*cri.ListContainerStatsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &cri.ListContainerStatsResponse{}
	now := time.Now().UnixNano()
	for _, c := range f.containers {
		if c.State != cri.ContainerState_CONTAINER_RUNNING {
			continue
		}
		out.Stats = append(out.Stats, &cri.ContainerStats{
			Attributes: &cri.ContainerAttributes{Id: c.Id, Metadata: c.Metadata, Labels: c.Labels, Annotations: c.Annotations},
			Cpu:        &cri.CpuUsage{Timestamp: now, UsageCoreNanoSeconds: &cri.UInt64Value{Value: uint64(now-c.StartedAt) / 8}},
			Memory:     &cri.MemoryUsage{Timestamp: now, WorkingSetBytes: &cri.UInt64Value{Value: 16 << 20}},
		})
	}
	return out, nil
}

func (f *fakeCRI) ListImages(context.Context, *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	return &cri.ListImagesResponse{}, nil
}

func (f *fakeCRI) ImageStatus(_ context.Context, r *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	return &cri.ImageStatusResponse{Image: &cri.Image{Id: "sha256:fake", RepoTags: []string{r.Image.Image}, Size: 1 << 20}}, nil
}

func (f *fakeCRI) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	usage := []*cri.FilesystemUsage{{
		Timestamp: time.Now().UnixNano(), FsId: &cri.FilesystemIdentifier{Mountpoint: f.root},
		UsedBytes: &cri.UInt64Value{Value: 1 << 20}, InodesUsed: &cri.UInt64Value{Value: 10},
	}}
	return &cri.ImageFsInfoResponse{ImageFilesystems: usage, ContainerFilesystems: usage}, nil
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}
