package cri_test

import (
	"archive/tar"
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
	dir      string
	handler  string
	programs string
	stop     func()
}

func newRealNode(t *testing.T, handler, programs string) *realNode {
	t.Helper()
	// The path of a socket is short.
	dir, err := os.MkdirTemp("", "cri")
	must(t, err)
	n := &realNode{t: t, dir: dir, handler: handler, programs: programs}
	n.start()
	t.Cleanup(func() {
		list, err := n.ListPodSandbox(context.Background(), &runtime.ListPodSandboxRequest{})
		for _, p := range list.GetItems() {
			_, err2 := n.RemovePodSandbox(context.Background(), &runtime.RemovePodSandboxRequest{PodSandboxId: p.Id})
			err = errors.Join(err, err2)
		}
		n.stop()
		err = errors.Join(err, container.Down(context.Background(), n.containers(), slog.New(slog.DiscardHandler)))
		groups, _ := filepath.Glob("/sys/fs/cgroup/*" + n.cgroup())
		for _, g := range append(groups, "/sys/fs/cgroup"+n.cgroup()) {
			if err2 := os.Remove(g); !errors.Is(err2, os.ErrNotExist) {
				err = errors.Join(err, err2)
			}
		}
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return n
}

// cgroup is the parent of the node's pods.
func (n *realNode) cgroup() string { return "/" + filepath.Base(n.dir) }

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
		}, false, boxLayer(t, filepath.Join(n.programs, "box")))
		must(t, err)
	}
	e, err := engine.Open(engine.Config{Dir: filepath.Join(n.dir, "engine"), CDIDirs: []string{filepath.Join(n.dir, "cdi")}}, engine.Parts{
		Runtime: containers, Network: fake.NewNetwork(), Snapshots: layers, Images: images, Seccomp: seccomp.Default,
	}, log)
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
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// boxLayer makes a layer with a program at /bin/box.
func boxLayer(t *testing.T, program string) *bytes.Reader {
	t.Helper()
	data, err := os.ReadFile(program)
	must(t, err)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: "bin/box", Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}))
	_, err = w.Write(data)
	must(t, errors.Join(err, w.Close()))
	return bytes.NewReader(b.Bytes())
}

func (n *realNode) sandbox(name string) (string, *runtime.PodSandboxConfig) {
	n.t.Helper()
	cfg := &runtime.PodSandboxConfig{
		Metadata: &runtime.PodSandboxMetadata{Name: name, Namespace: "shop", Uid: name}, Hostname: name,
		LogDirectory: filepath.Join(n.dir, "logs", name),
		Linux:        &runtime.LinuxPodSandboxConfig{CgroupParent: n.cgroup()},
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

// TestHandlers runs what the kubelet does with a pod of each runtime class.
func TestHandlers(t *testing.T) {
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
	for _, handler := range []string{"", "runc", "crun"} {
		t.Run("handler "+handler, func(t *testing.T) {
			t.Parallel()
			if handler != "" {
				need.Command(t, handler)
			}
			handlerLife(t, newRealNode(t, handler, programs))
		})
	}
	t.Run("a device with a hook", func(t *testing.T) {
		t.Parallel()
		need.Command(t, "runc")
		deviceWithHook(t, newRealNode(t, "", programs))
	})
}

func handlerLife(t *testing.T, n *realNode) {
	pod, sandbox := n.sandbox("web")
	list, err := n.ListPodSandbox(t.Context(), &runtime.ListPodSandboxRequest{})
	if err != nil || len(list.Items) != 1 || list.Items[0].RuntimeHandler != n.handler {
		t.Errorf("ListPodSandbox = %v, %v; want one of handler %q", list, err, n.handler)
	}

	// Streams.
	cat := n.run(pod, sandbox, "cat", func(c *runtime.ContainerConfig) { c.Stdin, c.StdinOnce = true, true }, "cat")
	attach, err := n.Attach(t.Context(), &runtime.AttachRequest{ContainerId: cat, Stdin: true, Stdout: true})
	must(t, err)
	if got := n.stream(attach.Url, "to the container\n"); got != "to the container\n" {
		t.Errorf("attach: %q, want what was sent", got)
	}
	if code := n.ended(cat); code != 0 || !strings.HasSuffix(n.log("web", "cat"), " stdout F to the container\n") {
		t.Errorf("cat ended with %d; log %q", code, n.log("web", "cat"))
	}

	// A service, and commands in it.
	id := n.run(pod, sandbox, "main", nil, "graceful", "9")
	if info := n.status(id).Info["info"]; strings.Contains(info, `"runtime":"`+n.handler+`"`) != (n.handler != "") {
		t.Errorf("verbose status = %s, want runtime %q", info, n.handler)
	}
	if got := n.exec(id, "hostname"); got != "0 web\n" {
		t.Errorf("ExecSync hostname = %q", got)
	}
	if got := n.exec(id, "exit", "42"); got != "42 " {
		t.Errorf("ExecSync exit = %q", got)
	}
	into, err := n.Exec(t.Context(), &runtime.ExecRequest{ContainerId: id, Cmd: []string{"/bin/box", "cat"}, Stdin: true, Stdout: true})
	must(t, err)
	if got := n.stream(into.Url, "to an exec"); got != "to an exec" {
		t.Errorf("exec: %q, want what was sent", got)
	}
	if st, err := n.ContainerStats(t.Context(), &runtime.ContainerStatsRequest{ContainerId: id}); err != nil || st.Stats.Memory.GetUsageBytes().GetValue() == 0 {
		t.Errorf("ContainerStats = %v, %v; want some memory used", st, err)
	}
	_, err = n.UpdateContainerResources(t.Context(), &runtime.UpdateContainerResourcesRequest{
		ContainerId: id, Linux: &runtime.LinuxContainerResources{MemoryLimitInBytes: 128 << 20},
	})
	must(t, err)
	limits, _ := filepath.Glob("/sys/fs/cgroup/memory" + n.cgroup() + "/*/memory.limit_in_bytes")
	v2, _ := filepath.Glob("/sys/fs/cgroup" + n.cgroup() + "/*/memory.max")
	for _, file := range append(limits, v2...) {
		if text, err := os.ReadFile(file); strings.Contains(file, id) && (err != nil || string(text) != "134217728\n") {
			t.Errorf("%s = %q, %v; want the new limit", file, text, err)
		}
	}
	if len(limits)+len(v2) == 0 {
		t.Error("its cgroup is not where the pod asked for it")
	}

	// Nothing of it depends on us.
	n.killKeeper()
	if !n.answers(id) {
		t.Error("after the keeper was killed it does not answer")
	}
	n.stop()
	n.killKeeper()
	n.start()
	if st := n.status(id); st.Status.State != runtime.ContainerState_CONTAINER_RUNNING {
		t.Errorf("after both were killed: %v", st.Status.State)
	}
	if !n.answers(id) {
		t.Error("after both were killed it does not answer")
	}
	_, err = n.StopContainer(t.Context(), &runtime.StopContainerRequest{ContainerId: id, Timeout: 10})
	must(t, err)
	if st := n.status(id).Status; st.ExitCode != 9 {
		t.Errorf("exit code %d after SIGTERM, want 9", st.ExitCode)
	}
	if got := n.log("web", "main"); strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, " stdout F ready\n") {
		t.Errorf("log = %q", got)
	}
}

// deviceWithHook asks the native path for what it cannot do.
func deviceWithHook(t *testing.T, n *realNode) {
	ran := filepath.Join(n.dir, "ran")
	must(t, os.MkdirAll(filepath.Join(n.dir, "cdi"), 0o755))
	must(t, os.WriteFile(filepath.Join(n.dir, "cdi", "vendor.json"), fmt.Appendf(nil, `{"cdiVersion":"0.6.0","kind":"vendor.com/gpu","devices":[
		{"name":"0","containerEdits":{"hooks":[{"hookName":"createRuntime","path":"/bin/sh","args":["sh","-c","cat > %s"]}]}}]}`, ran), 0o644))
	pod, sandbox := n.sandbox("gpu")
	id := n.run(pod, sandbox, "main", func(c *runtime.ContainerConfig) {
		c.CDIDevices = []*runtime.CDIDevice{{Name: "vendor.com/gpu=0"}}
	}, "exit", "3")
	if code := n.ended(id); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if state, err := os.ReadFile(ran); err != nil || !strings.Contains(string(state), id) {
		t.Errorf("what the hook was told: %q, %v", state, err)
	}
	if info := n.status(id).Info["info"]; !strings.Contains(info, `"runtime":"runc","runtimeReason":"hooks.createRuntime"`) {
		t.Errorf("verbose status = %s, want runc and why", info)
	}
}
