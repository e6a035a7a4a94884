package cri_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/scope"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/engine/cri"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/fake"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/test/need"
)

const module = "github.com/sampan-cloud/sampan"

// realNode is a CRI server on the real parts, but for a network: its pods have
// the host's.
type realNode struct {
	runtime.RuntimeServiceClient
	t        *testing.T
	systemd  bool // keeps the pods' cgroups
	dir      string
	handler  string
	programs string
	stop     func()
}

func newRealNode(t *testing.T, handler, programs string, systemd bool) *realNode {
	t.Helper()
	// The path of a socket is short.
	dir, err := os.MkdirTemp("", "cri")
	must(t, err)
	n := &realNode{t: t, systemd: systemd, dir: dir, handler: handler, programs: programs}
	n.start()
	t.Cleanup(func() {
		list, err := n.ListPodSandbox(context.Background(), &runtime.ListPodSandboxRequest{})
		for _, p := range list.GetItems() {
			_, err2 := n.RemovePodSandbox(context.Background(), &runtime.RemovePodSandboxRequest{PodSandboxId: p.Id})
			err = errors.Join(err, err2)
		}
		n.stop()
		err = errors.Join(err, container.Down(context.Background(), n.containers(), slog.New(slog.DiscardHandler)))
		if err = errors.Join(err, n.removeGroups()); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return n
}

// removeGroups removes the parents of the node's pods, which are empty.
func (n *realNode) removeGroups() error {
	groups, err := filepath.Glob("/sys/fs/cgroup/*" + n.cgroup())
	if n.systemd {
		m, err := scope.Open(n.containers().Cgroups)
		if err != nil {
			return err
		}
		defer m.Close()
		return m.RemoveSlice(context.Background(), n.cgroup())
	}
	for _, g := range append(groups, "/sys/fs/cgroup"+n.cgroup()) {
		if err2 := os.Remove(g); !errors.Is(err2, os.ErrNotExist) {
			err = errors.Join(err, err2)
		}
	}
	return err
}

// cgroup is the parent of the node's pods.
func (n *realNode) cgroup() string { return "/" + filepath.Base(n.dir) }

// cgroupParent is a pod's parent, as the kubelet names it.
func (n *realNode) cgroupParent(pod string) string {
	if !n.systemd {
		return n.cgroup()
	}
	return fmt.Sprintf("%[1]s.slice%[1]s-pod%[2]s.slice", n.cgroup(), pod)
}

func (n *realNode) containers() container.Config {
	n.t.Helper()
	groups, err := cgroup.New(cgroup.Config{})
	must(n.t, err)
	return container.Config{Dir: filepath.Join(n.dir, "run"), Keeper: filepath.Join(n.programs, "sampan-keeper"), Cgroups: groups}
}

// start begins a daemon's life.
func (n *realNode) start() {
	t := n.t
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	images, err := image.Open(image.Config{Root: filepath.Join(n.dir, "images")}, log)
	must(t, err)
	layers, err := snapshot.Open(snapshot.Config{Root: filepath.Join(n.dir, "snapshots")}, log)
	must(t, err)
	containers, err := container.Connect(t.Context(), n.containers(), log)
	must(t, err)
	if _, err := images.Get(t.Context(), "box:1"); err != nil {
		_, err = images.AddImage(t.Context(), "box:1", ocispec.Image{
			Platform: images.Platform(), Config: ocispec.ImageConfig{Entrypoint: []string{"/bin/box"}, Env: []string{"PATH=/bin"}},
		}, false, fake.Layer(t, filepath.Join(n.programs, "box"), "bin/box"))
		must(t, err)
	}
	parts := engine.Parts{Runtime: containers, Network: fake.NewNetwork(), Snapshots: layers, Images: images, Seccomp: seccomp.Default}
	var scopes *scope.Manager
	if n.systemd {
		scopes, err = scope.Open(n.containers().Cgroups)
		must(t, err)
		parts.Scopes = scopes
	}
	e, err := engine.Open(engine.Config{Dir: filepath.Join(n.dir, "engine"), CDIDirs: []string{filepath.Join(n.dir, "cdi")}}, parts, log)
	must(t, err)
	socket := filepath.Join(n.dir, "cri.sock")
	server := cri.New(cri.Config{Socket: socket, ImageDir: n.dir}, e, log)
	ctx, cancel := context.WithCancel(context.Background())
	var done []chan error
	for _, run := range []func(context.Context, func()) error{e.Run, server.Run} {
		ready, end := make(chan struct{}), make(chan error, 1)
		go func() { end <- run(ctx, func() { close(ready) }) }()
		<-ready
		done = append(done, end)
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	n.RuntimeServiceClient = runtime.NewRuntimeServiceClient(conn)
	n.stop = func() {
		cancel()
		for _, end := range done {
			must(t, <-end)
		}
		must(t, errors.Join(conn.Close(), containers.Close(), layers.Close(), images.Close()))
		if scopes != nil {
			must(t, scopes.Close())
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (n *realNode) sandbox(name string) (string, *runtime.PodSandboxConfig) {
	n.t.Helper()
	cfg := &runtime.PodSandboxConfig{
		Metadata: &runtime.PodSandboxMetadata{Name: name, Namespace: "shop", Uid: name}, Hostname: name,
		LogDirectory: filepath.Join(n.dir, "logs", name),
		Linux:        &runtime.LinuxPodSandboxConfig{CgroupParent: n.cgroupParent(name)},
	}
	resp, err := n.RunPodSandbox(n.t.Context(), &runtime.RunPodSandboxRequest{Config: cfg, RuntimeHandler: n.handler})
	must(n.t, err)
	return resp.PodSandboxId, cfg
}

// run creates and starts a container of the box program.
func (n *realNode) run(pod string, sandbox *runtime.PodSandboxConfig, name string, change func(*runtime.ContainerConfig), args ...string) string {
	n.t.Helper()
	cfg := &runtime.ContainerConfig{
		Metadata: &runtime.ContainerMetadata{Name: name}, Image: &runtime.ImageSpec{Image: "box:1"},
		Args: args, LogPath: name + ".log",
		Linux: &runtime.LinuxContainerConfig{
			Resources: &runtime.LinuxContainerResources{MemoryLimitInBytes: 64 << 20},
			SecurityContext: &runtime.LinuxContainerSecurityContext{
				Seccomp:          &runtime.SecurityProfile{ProfileType: runtime.SecurityProfile_RuntimeDefault},
				NamespaceOptions: &runtime.NamespaceOption{Pid: runtime.NamespaceMode_CONTAINER},
			},
		},
	}
	if change != nil {
		change(cfg)
	}
	made, err := n.CreateContainer(n.t.Context(), &runtime.CreateContainerRequest{PodSandboxId: pod, Config: cfg, SandboxConfig: sandbox})
	must(n.t, err)
	_, err = n.StartContainer(n.t.Context(), &runtime.StartContainerRequest{ContainerId: made.ContainerId})
	must(n.t, err)
	return made.ContainerId
}

func (n *realNode) status(id string) *runtime.ContainerStatusResponse {
	n.t.Helper()
	st, err := n.ContainerStatus(n.t.Context(), &runtime.ContainerStatusRequest{ContainerId: id, Verbose: true})
	must(n.t, err)
	return st
}

// ended waits for a container's end and returns its exit code.
func (n *realNode) ended(id string) int32 {
	n.t.Helper()
	for range 1000 {
		if st := n.status(id).Status; st.State == runtime.ContainerState_CONTAINER_EXITED {
			return st.ExitCode
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.t.Fatalf("container %s does not end", id)
	return 0
}

func (n *realNode) exec(id string, args ...string) string {
	n.t.Helper()
	out, err := n.ExecSync(n.t.Context(), &runtime.ExecSyncRequest{ContainerId: id, Cmd: append([]string{"/bin/box"}, args...), Timeout: 10})
	must(n.t, err)
	return fmt.Sprintf("%d %s%s", out.ExitCode, out.Stdout, out.Stderr)
}

func (n *realNode) log(pod, name string) string {
	text, _ := os.ReadFile(filepath.Join(n.dir, "logs", pod, name+".log"))
	return string(text)
}

func (n *realNode) killKeeper() {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, "run", "keeper.lock"))
	must(n.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(n.t, err)
	must(n.t, unix.Kill(pid, unix.SIGKILL))
}

// answers tells whether commands run in a container. One that is under way while
// the keeper dies is refused, and not repeated: it may have begun.
func (n *realNode) answers(id string) bool {
	for range 200 {
		out, err := n.ExecSync(n.t.Context(), &runtime.ExecSyncRequest{ContainerId: id, Cmd: []string{"/bin/box", "echo", "here"}, Timeout: 10})
		if status.Code(err) != codes.Unavailable {
			return err == nil && out.ExitCode == 0 && string(out.Stdout) == "here\n"
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// stream sends to a stream and returns what comes back until it ends.
func (n *realNode) stream(at, stdin string) string {
	n.t.Helper()
	u, err := url.Parse(at)
	must(n.t, err)
	ex, err := remotecommand.NewSPDYExecutor(&rest.Config{}, "POST", u)
	must(n.t, err)
	var out bytes.Buffer
	if err := ex.StreamWithContext(n.t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(stdin), Stdout: &out}); err != nil {
		n.t.Errorf("stream: %v", err)
	}
	return out.String()
}

// buildPrograms builds the keeper and the box program.
func buildPrograms(t *testing.T) string {
	t.Helper()
	need.Cgroup(t)
	need.Overlay(t)
	programs := t.TempDir()
	for name, pkg := range map[string]string{
		"sampan-keeper": module + "/cmd/sampan-keeper",
		"box":           module + "/internal/node/container/containertest/testdata/box",
	} {
		build := exec.Command("go", "build", "-o", filepath.Join(programs, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	return programs
}
