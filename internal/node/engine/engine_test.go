package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/fake"
	"github.com/sampan-cloud/sampan/test/need"
)

// world is an engine on fakes.
type world struct {
	*engine.Engine
	t         *testing.T
	dir       string
	runtime   *fake.Runtime
	network   *fake.Network
	snapshots *fake.Snapshots
	images    *fake.Images
	scopes    engine.Scopes
	stop      func()
}

const passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n"
const group = "root:x:0:\nweb:x:1001:\nextra:x:50000:web\n"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), runtime: fake.NewRuntime(), network: fake.NewNetwork(),
		snapshots: fake.NewSnapshots(t), images: fake.NewImages(),
	}
	w.images.Add("web:1", ocispec.ImageConfig{
		Entrypoint: []string{"/web"}, Cmd: []string{"-v"}, Env: []string{"PATH=/bin", "LANG=C"}, WorkingDir: "/srv",
	}, map[string]string{"etc/passwd": passwd, "etc/group": group, "data/file": "text"})
	w.start()
	return w
}

// open opens an engine on what is there, as a restarted daemon does.
func (w *world) open() *engine.Engine {
	w.t.Helper()
	e, err := engine.Open(engine.Config{Dir: w.dir, Pause: []string{"/bin/true"}, Annotations: []string{"run.oci.*"}, CDIDirs: []string{filepath.Join(w.dir, "cdi")}}, engine.Parts{
		Runtime: w.runtime, Network: w.network, Snapshots: w.snapshots, Images: w.images, Scopes: w.scopes,
		Seccomp: func([]string) *specs.LinuxSeccomp { return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno} },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// start opens and runs one.
func (w *world) start() {
	w.t.Helper()
	e := w.open()
	w.Engine = e
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- e.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		w.t.Fatalf("Run: %v", err)
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run returned %v after its context ended", err)
		}
	})
	w.t.Cleanup(w.stop)
	w.t.Cleanup(func() { // the pods' /dev/shm
		for _, p := range w.Pods("cri") {
			_ = w.RemovePod(context.Background(), "cri", p.ID)
		}
	})
}

func (w *world) pod(name string) engine.Pod {
	w.t.Helper()
	p, err := w.RunPod(w.t.Context(), engine.PodConfig{Owner: "cri", Name: name, Hostname: name, LogDir: filepath.Join(w.dir, "logs", name)})
	if err != nil {
		w.t.Fatalf("RunPod(%s): %v", name, err)
	}
	return p
}

func (w *world) container(pod engine.Pod, name string) engine.Container {
	w.t.Helper()
	c, err := w.CreateContainer(w.t.Context(), "cri", pod.ID, engine.ContainerConfig{Name: name, Image: "web:1", Log: name + ".log"})
	if err != nil {
		w.t.Fatalf("CreateContainer(%s): %v", name, err)
	}
	return c
}

func (w *world) started(pod engine.Pod, name string) engine.Container {
	w.t.Helper()
	c := w.container(pod, name)
	if err := w.StartContainer(w.t.Context(), "cri", c.ID); err != nil {
		w.t.Fatalf("StartContainer(%s): %v", name, err)
	}
	return c
}

func (w *world) get(id string) engine.Container {
	w.t.Helper()
	c, err := w.Container("cri", id)
	if err != nil {
		w.t.Fatalf("Container(%s): %v", id, err)
	}
	return c
}

// left fails the test for everything that is not given back.
func (w *world) left() {
	w.t.Helper()
	for what, list := range map[string][]string{
		"runtime": w.runtime.Left(), "network": w.network.Left(), "snapshots": w.snapshots.Left(),
	} {
		if len(list) > 0 {
			w.t.Errorf("%s still holds %q", what, list)
		}
	}
	for _, kind := range []string{"pods", "files", "run/pods"} {
		entries, err := os.ReadDir(filepath.Join(w.dir, kind))
		if err != nil || len(entries) > 0 {
			w.t.Errorf("%d left in %s, %v", len(entries), kind, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), w.dir) {
		w.t.Errorf("something is still mounted in %s, %v", w.dir, err)
	}
}

// needRoot skips where a pod's /dev/shm cannot be mounted.
func needRoot(t *testing.T) { t.Helper(); need.Root(t) }

func TestAContainerFromStartToEnd(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	c := w.started(pod, "main")
	if got := w.get(c.ID); got.State != engine.Running || got.PID == 0 || got.Started.IsZero() {
		t.Errorf("after start: state %s, pid %d, started %s", got.State, got.PID, got.Started)
	}
	w.runtime.Exit(c.ID, 3, false)
	got, err := w.WaitContainer(t.Context(), "cri", c.ID)
	if err != nil || got.State != engine.Exited || got.Code != 3 || got.Reason != engine.ReasonError {
		t.Errorf("after its end: %s, code %d, %s, %v; want exited, 3, Error", got.State, got.Code, got.Reason, err)
	}
	if err := w.RemovePod(t.Context(), "cri", pod.ID); err != nil {
		t.Fatal(err)
	}
	w.left()
}

func TestWhyAContainerEnded(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	for name, tt := range map[string]struct {
		code int
		oom  bool
		want string
	}{
		"by itself":          {0, false, engine.ReasonCompleted},
		"with a failure":     {1, false, engine.ReasonError},
		"killed for memory":  {137, true, engine.ReasonOOM},
		"killed by somebody": {137, false, engine.ReasonError},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.started(pod, name)
			w.runtime.Exit(c.ID, tt.code, tt.oom)
			got, err := w.WaitContainer(t.Context(), "cri", c.ID)
			if err != nil || got.Reason != tt.want || got.Code != tt.code {
				t.Errorf("WaitContainer = %s, %d, %v; want %s, %d", got.Reason, got.Code, err, tt.want, tt.code)
			}
		})
	}
}

func TestAFailedStartIsAnEnd(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	c := w.container(w.pod("a"), "main")
	w.runtime.FailWith = errors.New("execve /web: no such file or directory")
	if err := w.StartContainer(t.Context(), "cri", c.ID); err == nil {
		t.Fatal("StartContainer = nil, want the runtime's failure")
	}
	got := w.get(c.ID)
	if got.State != engine.Exited || got.Code != 128 || got.Reason != engine.ReasonStartError || got.Message == "" {
		t.Errorf("after a failed start: %s, %d, %s, %q; want exited, 128, StartError and why", got.State, got.Code, got.Reason, got.Message)
	}
}

func TestStopIsGraceful(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.images.Add("quit:1", ocispec.ImageConfig{Cmd: []string{"/q"}, StopSignal: "SIGQUIT"}, nil)
	pod := w.pod("a")
	c, err := w.CreateContainer(t.Context(), "cri", pod.ID, engine.ContainerConfig{Name: "q", Image: "quit:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.StartContainer(t.Context(), "cri", c.ID); err != nil {
		t.Fatal(err)
	}
	w.runtime.Ignore[3] = true
	if err := w.StopContainer(t.Context(), "cri", c.ID, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if got := w.runtime.Signals(c.ID); !slices.Equal(got, []int{3, 9}) {
		t.Errorf("signals = %v, want the image's stop signal 3 and then 9", got)
	}
	if err := w.StopContainer(t.Context(), "cri", c.ID, 0); err != nil {
		t.Errorf("a second StopContainer = %v", err)
	}
}

func TestARestartedDaemonFindsEverything(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	runs, ends, waits := w.started(pod, "runs"), w.started(pod, "ends"), w.container(pod, "waits")
	w.stop()
	w.runtime.Exit(ends.ID, 7, false)
	w.start()
	if got := w.get(runs.ID).State; got != engine.Running {
		t.Errorf("a running container is %s after a restart", got)
	}
	if got, err := w.WaitContainer(t.Context(), "cri", ends.ID); err != nil || got.Code != 7 {
		t.Errorf("one that ended meanwhile: code %d, %v; want 7", got.Code, err)
	}
	if got := w.get(waits.ID).State; got != engine.Created {
		t.Errorf("one that was not started is %s", got)
	}
	if err := w.StartContainer(t.Context(), "cri", waits.ID); err != nil {
		t.Errorf("and cannot be started: %v", err)
	}
	p, err := w.Pod("cri", pod.ID)
	if err != nil || p.State != engine.PodReady || p.IP() != pod.IP() {
		t.Errorf("the pod is %s with address %s, %v; want ready with %s", p.State, p.IP(), err, pod.IP())
	}
}

func TestAPodWhoseNamespacesAreGoneIsNotReady(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.network.NetNS = filepath.Join(t.TempDir(), "netns")
	if err := os.WriteFile(w.network.NetNS, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pod := w.pod("a")
	w.stop()
	if err := os.Remove(w.network.NetNS); err != nil {
		t.Fatal(err)
	}
	w.start()
	if p, err := w.Pod("cri", pod.ID); err != nil || p.State != engine.PodNotReady {
		t.Errorf("the pod is %s, %v; want not ready, so that the kubelet makes another", p.State, err)
	}
}

func TestAnOrphanedOneOffIsRemovedAtItsEnd(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	p, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "a", AutoRemove: true})
	if err != nil {
		t.Fatal(err)
	}
	c := w.started(p, "main")
	w.stop()
	w.start()
	if got := w.get(c.ID).State; got != engine.Running {
		t.Errorf("after a restart it is %s", got)
	}
	w.runtime.Exit(c.ID, 0, false)
	for range 400 {
		if len(w.Pods("cri")) == 0 {
			w.left()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("it is still there after its end")
}

func TestNamesAreReserved(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	if _, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "a"}); fault.Of(err) != fault.Exists {
		t.Errorf("a second pod of the same name: %v, want it refused", err)
	}
	if _, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "local", Name: "a"}); err != nil {
		t.Errorf("another owner's pod of the same name: %v", err)
	}
	c := w.container(pod, "main")
	if _, err := w.CreateContainer(t.Context(), "cri", pod.ID, engine.ContainerConfig{Name: "main", Image: "web:1"}); fault.Of(err) != fault.Exists {
		t.Errorf("a second container of the same name: %v, want it refused", err)
	}
	if err := w.RemoveContainer(t.Context(), "cri", c.ID); err != nil {
		t.Fatal(err)
	}
	w.container(pod, "main")
	for _, p := range w.Pods("local") {
		if err := w.RemovePod(t.Context(), "local", p.ID); err != nil {
			t.Error(err)
		}
	}
}

func TestAnOwnerSeesItsOwn(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	c := w.started(pod, "main")
	if _, err := w.Container("local", c.ID); fault.Of(err) != fault.NotFound {
		t.Errorf("another owner finds the container: %v", err)
	}
	if _, err := w.Container("cri", c.ID[:12]); err != nil {
		t.Errorf("the first digits of the ID find nothing: %v", err)
	}
}

func TestAFailedPodLeavesNothing(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.network.FailWith = errors.New("no address left")
	if _, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "a"}); err == nil {
		t.Fatal("RunPod = nil, want the network's failure")
	}
	w.left()
	w.pod("a") // its name is free again
}

func TestAFailedContainerLeavesNothing(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	_, err := w.CreateContainer(t.Context(), "cri", pod.ID, engine.ContainerConfig{
		Name: "main", Image: "web:1", Security: engine.Security{Username: "nobody-such"},
	})
	if fault.Of(err) != fault.Invalid {
		t.Fatalf("CreateContainer = %v, want invalid", err)
	}
	if err := w.RemovePod(t.Context(), "cri", pod.ID); err != nil {
		t.Fatal(err)
	}
	w.left()
}

func TestStoppingAPodStopsItsContainers(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	c := w.started(pod, "main")
	for range 2 {
		if err := w.StopPod(t.Context(), "cri", pod.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.get(c.ID).State; got != engine.Exited {
		t.Errorf("its container is %s", got)
	}
	_, err := w.CreateContainer(t.Context(), "cri", pod.ID, engine.ContainerConfig{Name: "late", Image: "web:1"})
	if fault.Of(err) != fault.Precondition {
		t.Errorf("a container in a stopped pod: %v, want it refused", err)
	}
	if p, err := w.Pod("cri", pod.ID); err != nil || p.State != engine.PodNotReady {
		t.Errorf("the pod is %s, %v", p.State, err)
	}
}

func TestASharedProcessNamespaceHasAHolder(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "a", PID: engine.ModePod})
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.CreateContainer(t.Context(), "cri", pod.ID, engine.ContainerConfig{
		Name: "main", Image: "web:1", Security: engine.Security{PID: engine.ModePod},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.StartContainer(t.Context(), "cri", c.ID); err != nil {
		t.Fatal(err)
	}
	path := namespaceOf(w.runtime.Started[c.ID].OCI, specs.PIDNamespace)
	if path == nil || path.Path == "" {
		t.Errorf("process namespace = %+v, want the holder's", path)
	}
	w.runtime.Exit(pod.ID+"-pause", 137, false)
	for range 100 {
		if p, _ := w.Pod("cri", pod.ID); p.State == engine.PodNotReady {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the pod is still ready after its holder ended")
}

func TestEventsTellWhatHappened(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	events := w.Events(t.Context(), "cri")
	pod := w.pod("a")
	c := w.started(pod, "main")
	w.runtime.Exit(c.ID, 0, false)
	if _, err := w.WaitContainer(t.Context(), "cri", c.ID); err != nil {
		t.Fatal(err)
	}
	want := []struct {
		kind engine.EventType
		id   string
	}{
		{engine.EventCreated, pod.ID}, {engine.EventStarted, pod.ID},
		{engine.EventCreated, c.ID}, {engine.EventStarted, c.ID}, {engine.EventStopped, c.ID},
	}
	for i, x := range want {
		select {
		case ev := <-events:
			if ev.Type != x.kind || ev.ContainerID != x.id || ev.Pod == nil {
				t.Errorf("event %d = %s of %.12s, want %s of %.12s", i, ev.Type, ev.ContainerID, x.kind, x.id)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("event %d (%s) did not come", i, x.kind)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			ctx := context.Background()
			p, err := w.RunPod(ctx, engine.PodConfig{Owner: "cri", Name: "p", Attempt: uint32(i)})
			if err != nil {
				t.Error(err)
				return
			}
			c, err := w.CreateContainer(ctx, "cri", p.ID, engine.ContainerConfig{Name: "c", Image: "web:1"})
			if err == nil {
				err = w.StartContainer(ctx, "cri", c.ID)
			}
			if err != nil {
				t.Error(err)
			}
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					if err := w.RemovePod(ctx, "cri", p.ID); err != nil {
						t.Error(err)
					}
				})
			}
			both.Wait()
		})
	}
	group.Wait()
	w.left()
	if w.snapshots.Commits != 2 {
		t.Errorf("%d layers were made, want 2: the image's, and that of mount points", w.snapshots.Commits)
	}
}

func namespaceOf(spec *specs.Spec, kind specs.LinuxNamespaceType) *specs.LinuxNamespace {
	for i := range spec.Linux.Namespaces {
		if spec.Linux.Namespaces[i].Type == kind {
			return &spec.Linux.Namespaces[i]
		}
	}
	return nil
}
