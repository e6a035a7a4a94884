package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CRI drives an engine as a kubelet does.
type CRI struct {
	runtime cri.RuntimeServiceClient
	conn    *grpc.ClientConn
	logs    string
	count   atomic.Int64
}

// DialCRI connects to the socket. logs is the directory for containers' output.
func DialCRI(ctx context.Context, socket, logs string) (*CRI, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	c := &CRI{runtime: cri.NewRuntimeServiceClient(conn), conn: conn, logs: logs}
	if _, err := c.runtime.Version(ctx, &cri.VersionRequest{}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, os.MkdirAll(logs, 0o755)
}

// Pod makes a pod with one running container, and returns a function that
// removes it. It is bridged, with the default seccomp profile, as a kubelet's
// ordinary pod.
func (c *CRI) Pod(ctx context.Context) (remove func(context.Context) error, err error) {
	n := c.count.Add(1)
	name := fmt.Sprintf("bench-%d-%d", os.Getpid(), n)
	pod := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: "bench", Uid: name},
		Hostname:     name,
		LogDirectory: c.logs,
		DnsConfig:    &cri.DNSConfig{Servers: []string{"192.0.2.1"}},
		Linux:        &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{Seccomp: &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}}},
	}
	sandbox, err := c.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: pod})
	if err != nil {
		return nil, fmt.Errorf("RunPodSandbox: %w", err)
	}
	remove = func(ctx context.Context) error {
		id := sandbox.PodSandboxId
		_, stop := c.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id})
		_, rm := c.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
		return errors.Join(stop, rm)
	}
	container, err := c.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId, SandboxConfig: pod,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "tiny"}, Image: &cri.ImageSpec{Image: Ref}, LogPath: name + ".log",
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{Seccomp: &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}}},
		},
	})
	if err != nil {
		return remove, fmt.Errorf("CreateContainer: %w", err)
	}
	if _, err := c.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: container.ContainerId}); err != nil {
		return remove, fmt.Errorf("StartContainer: %w", err)
	}
	return remove, nil
}

// Close ends the connection.
func (c *CRI) Close() error { return c.conn.Close() }

// removePods removes every pod that is there: shims outlive containerd.
func (c *CRI) removePods(ctx context.Context) error {
	list, err := c.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range list.Items {
		_, stop := c.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.Id})
		_, rm := c.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.Id})
		errs = append(errs, stop, rm)
	}
	return errors.Join(errs...)
}
