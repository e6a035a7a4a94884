package engine_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/fake"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/test/need"
)

// real is an engine on the real parts, but for a network: its pods have none.
type real struct {
	*engine.Engine
	t      *testing.T
	dir    string
	keeper string
	images *image.Store
	stop   func()

	restoreImages bool
}

// newReal builds the keeper, which is also the program in the test's image: it
// fails without arguments, and "pause" waits for SIGTERM.
func newReal(t *testing.T) *real {
	t.Helper()
	need.Cgroup(t)
	need.Overlay(t)
	r := &real{t: t, dir: t.TempDir()}
	r.keeper = filepath.Join(r.dir, "sampan-keeper")
	build := exec.Command("go", "build", "-o", r.keeper, "github.com/sampan-cloud/sampan/cmd/sampan-keeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the keeper: %v\n%s", err, out)
	}
	r.start()
	return r
}

func (r *real) start() {
	t := r.t
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	images, err := image.Open(image.Config{Root: filepath.Join(r.dir, "images")}, log)
	must(t, err)
	r.images = images
	layers, err := snapshot.Open(snapshot.Config{Root: filepath.Join(r.dir, "snapshots")}, log)
	must(t, err)
	runtime, err := container.Connect(t.Context(), r.containers(), log)
	must(t, err)
	r.Engine, err = engine.Open(engine.Config{
		Dir: filepath.Join(r.dir, "engine"), CgroupParent: r.cgroup(), RestoreImages: r.restoreImages,
	}, engine.Parts{
		Runtime: runtime, Snapshots: layers, Images: images, Seccomp: seccomp.Default, Network: fake.NewNetwork(),
	}, log)
	must(t, err)
	if _, err := r.Image(t.Context(), "tool:1"); err != nil {
		_, err = images.AddImage(t.Context(), "tool:1", ocispec.Image{
			Platform: images.Platform(), Config: ocispec.ImageConfig{Entrypoint: []string{"/keeper"}},
		}, false, fake.Layer(t, r.keeper, "keeper"))
		must(t, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- r.Run(ctx, func() { close(ready) }) }()
	<-ready
	r.stop = func() {
		cancel()
		must(t, <-done)
		must(t, runtime.Close())
		must(t, layers.Close())
		must(t, images.Close())
	}
}

func (r *real) containers() container.Config {
	r.t.Helper()
	groups, err := cgroup.New(cgroup.Config{})
	must(r.t, err)
	return container.Config{Dir: filepath.Join(r.dir, "run"), Keeper: r.keeper, Cgroups: groups}
}

// cgroup is the parent of the test's containers.
func (r *real) cgroup() string { return "/sampan-test-" + filepath.Base(filepath.Dir(r.dir)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *real) begin(name string, args ...string) engine.Container {
	r.t.Helper()
	ctx := r.t.Context()
	p, err := r.RunPod(ctx, engine.PodConfig{
		Owner: "cri", Name: name, Hostname: name, Net: engine.ModeContainer, LogDir: filepath.Join(r.dir, "logs"),
	})
	must(r.t, err)
	c, err := r.CreateContainer(ctx, "cri", p.ID, engine.ContainerConfig{
		Name: name, Image: "tool:1", Args: args, Log: name + ".log",
		Security: engine.Security{Seccomp: engine.Profile{Type: engine.ProfileDefault}},
	})
	must(r.t, err)
	must(r.t, r.StartContainer(ctx, "cri", c.ID))
	return c
}

// down removes everything.
func (r *real) down() {
	t := r.t
	for _, p := range r.Pods("cri") {
		if err := r.RemovePod(context.Background(), "cri", p.ID); err != nil {
			t.Error(err)
		}
	}
	r.stop()
	must(t, container.Down(context.Background(), r.containers(), slog.New(slog.DiscardHandler)))
	parents, err := filepath.Glob("/sys/fs/cgroup/*" + r.cgroup())
	must(t, err)
	for _, dir := range append(parents, "/sys/fs/cgroup"+r.cgroup()) {
		if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
	}
}

func TestRealContainers(t *testing.T) {
	r := newReal(t)
	defer r.down()

	fails := r.begin("fails")
	got, err := r.WaitContainer(t.Context(), "cri", fails.ID)
	if err != nil || got.Code != 1 || got.Reason != engine.ReasonError {
		t.Errorf("a failing program: code %d, %s, %v; want 1, Error", got.Code, got.Reason, err)
	}
	if b, err := os.ReadFile(got.LogPath); err != nil || !strings.Contains(string(b), "stderr F") {
		t.Errorf("its log = %q, %v", b, err)
	}

	waits := r.begin("waits", "pause")
	var out bytes.Buffer
	code, err := r.Exec(t.Context(), "cri", waits.ID, engine.ExecConfig{Args: []string{"/keeper"}}, container.Stdio{Stderr: &out})
	if err != nil || code != 1 || out.Len() == 0 {
		t.Errorf("exec = %d, %q, %v; want 1 and why", code, out.String(), err)
	}

	// Another engine takes over.
	r.stop()
	r.start()
	if c, err := r.Container("cri", waits.ID); err != nil || c.State != engine.Running {
		t.Fatalf("after a restart it is %s, %v; want running", c.State, err)
	}
	began := time.Now()
	must(t, r.StopContainer(t.Context(), "cri", waits.ID, 20*time.Second))
	if c, err := r.Container("cri", waits.ID); err != nil || c.Code != 0 || c.State != engine.Exited || time.Since(began) > 10*time.Second {
		t.Errorf("stopped: %s with %d after %s, %v; want a graceful end", c.State, c.Code, time.Since(began), err)
	}
}
