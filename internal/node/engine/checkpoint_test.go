package engine_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/test/need"
)

func TestACheckpointIsRestored(t *testing.T) {
	need.CRIU(t)
	r := newReal(t)
	defer r.down()
	ctx := t.Context()
	r.addBox()
	pod := r.pod("first")
	was := r.counting(pod, "box:1")
	r.untilCounts(was, 20)
	location := filepath.Join(t.TempDir(), "checkpoint.tar")
	must(t, r.CheckpointContainer(ctx, "cri", was.ID, location))
	if info, err := os.Stat(location); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("archive: %v, %v; want one that only root reads", info.Mode(), err)
	}
	have := namesOf(t, location)
	for _, name := range []string{
		"config.dump", "spec.dump", "network.status", "deleted.files", "dump.log", "stats-dump", "rootfs-diff.tar",
		"checkpoint/", "checkpoint/pstree.img", "volumes/0.tar", "devshm-checkpoint.tar",
	} {
		if !slices.Contains(have, name) {
			t.Errorf("the archive lacks %s; it has %v", name, have)
		}
	}
	last := r.untilCounts(was, 0)
	must(t, r.RemovePod(ctx, "cri", pod.ID))

	t.Run("by its path", func(t *testing.T) {
		r := r.in(t)
		pod := r.pod("path")
		again := r.counting(pod, location)
		if again.Image.Name != "box:1" && !strings.HasSuffix(again.Image.Name, "/box:1") {
			t.Errorf("its image is %q, want that of the container that was checkpointed", again.Image.Name)
		}
		// The count is in the log of the new one, and begins where it was.
		if first := r.firstCount(again); first < 2 || first > last+1 {
			t.Errorf("it begins with %d, the checkpointed one ended with %d", first, last)
		}
		var out bytes.Buffer
		if _, err := r.Exec(ctx, "cri", again.ID, engine.ExecConfig{Args: []string{"/bin/box", "read", "/etc/unwanted"}}, container.Stdio{Stdout: &out}); err != nil || !strings.Contains(out.String(), "no such file") {
			t.Errorf("a file that it had deleted: %q, %v", out.String(), err)
		}
		// Another engine finds it as any other.
		r.stop()
		r.start()
		r.endsWith(again, 5)
		if left, _ := filepath.Glob(filepath.Join(r.dir, "engine/files/*/checkpoint")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		must(t, r.RemovePod(ctx, "cri", pod.ID))
	})
	t.Run("by an image that holds it", func(t *testing.T) {
		r := r.in(t)
		r.addCheckpointImage("saved:1", location)
		pod := r.pod("image")
		_, err := r.CreateContainer(ctx, "cri", pod.ID, engine.ContainerConfig{Name: "count", Image: "saved:1"})
		if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), "engine.restoreImages") {
			t.Errorf("without the setting: %v", err)
		}
		r.stop()
		r.restoreImages = true
		r.start()
		again := r.counting(pod, "saved:1")
		r.firstCount(again)
		r.endsWith(again, 5)
		must(t, r.RemovePod(ctx, "cri", pod.ID))
	})
	t.Run("not what is no checkpoint", func(t *testing.T) {
		r := r.in(t)
		pod := r.pod("none")
		text := filepath.Join(t.TempDir(), "text")
		must(t, os.WriteFile(text, bytes.Repeat([]byte("no archive\n"), 100), 0o600))
		for path, want := range map[string]fault.Kind{
			text: fault.Corrupt, os.DevNull: fault.Invalid, r.dir: fault.Invalid, filepath.Join(r.dir, "missing"): fault.NotFound,
		} {
			if _, err := r.CreateContainer(ctx, "cri", pod.ID, engine.ContainerConfig{Name: "count", Image: path}); fault.Of(err) != want {
				t.Errorf("CreateContainer(%s) = %v, want %v", path, err, want)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(r.dir, "engine/files/*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		must(t, r.RemovePod(ctx, "cri", pod.ID))
	})
	t.Run("not where a mount is missing", func(t *testing.T) {
		r := r.in(t)
		pod := r.pod("mounts")
		_, err := r.CreateContainer(ctx, "cri", pod.ID, engine.ContainerConfig{
			Name: "count", Image: location, Mounts: []engine.Mount{{Target: "/more", Tmpfs: true}},
		})
		if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), "/more") {
			t.Errorf("CreateContainer = %v, want %v and the mount", err, fault.Precondition)
		}
		if left, _ := filepath.Glob(filepath.Join(r.dir, "engine/files/*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		must(t, r.RemovePod(ctx, "cri", pod.ID))
	})
}

func TestACheckpointThatFailsLeavesNothing(t *testing.T) {
	need.CRIU(t)
	r := newReal(t)
	defer r.down()
	r.addBox()
	pod := r.pod("p")
	c := r.counting(pod, "box:1")
	r.untilCounts(c, 5)
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		location string
		patience time.Duration
		want     fault.Kind
	}{
		"a relative location":         {"c.tar", time.Minute, fault.Invalid},
		"a directory that is missing": {filepath.Join(dir, "missing", "c.tar"), time.Minute, fault.NotFound},
		"no time for it":              {filepath.Join(dir, "c.tar"), 30 * time.Millisecond, fault.Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), tt.patience)
			defer cancel()
			began := time.Now()
			if err := r.CheckpointContainer(ctx, "cri", c.ID, tt.location); fault.Of(err) != tt.want {
				t.Errorf("CheckpointContainer = %v, want %v", err, tt.want)
			}
			if took := time.Since(began); tt.want == fault.Timeout && took > time.Second {
				t.Errorf("it took %s", took)
			}
			// What has begun goes to its end, and only then another one may begin.
			for range 300 {
				err := r.CheckpointContainer(t.Context(), "cri", c.ID, filepath.Join(dir, "missing", "c.tar"))
				if fault.Of(err) == fault.NotFound {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Error("after three seconds it is not over")
		})
	}
	if work, err := os.ReadDir(filepath.Join(r.dir, "engine/checkpoints")); err != nil || len(work) > 0 {
		t.Errorf("left behind: %v, %v", work, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	before := r.untilCounts(c, 0)
	r.untilCounts(c, before+10)
	r.endsWith(c, 5)
}

// in is the same engine while another test runs.
func (r *real) in(t *testing.T) *real {
	outer := r.t
	t.Cleanup(func() { r.t = outer })
	r.t = t
	return r
}

// addBox adds an image with the program that the runtime's suite uses.
func (r *real) addBox() {
	r.t.Helper()
	box := filepath.Join(r.dir, "box")
	build := exec.Command("go", "build", "-o", box, "github.com/sampan-cloud/sampan/internal/node/container/containertest/testdata/box")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		r.t.Fatalf("build box: %v\n%s", err, out)
	}
	program, err := os.ReadFile(box)
	must(r.t, err)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range []string{"bin/", "etc/", "tmp/"} {
		must(r.t, w.WriteHeader(&tar.Header{Name: dir, Mode: 0o777, Typeflag: tar.TypeDir}))
	}
	for name, content := range map[string][]byte{"bin/box": program, "etc/unwanted": []byte("x")} {
		must(r.t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}))
		_, err := w.Write(content)
		must(r.t, err)
	}
	must(r.t, w.Close())
	_, err = r.images.AddImage(r.t.Context(), "box:1", ocispec.Image{
		Platform: r.images.Platform(),
		Config:   ocispec.ImageConfig{Cmd: []string{"/bin/box", "tally", "8", "5"}, Volumes: map[string]struct{}{"/tmp": {}}},
	}, false, &b)
	must(r.t, err)
}

// addCheckpointImage adds an image whose layer is an archive, as buildah makes it
// for the kubelet.
func (r *real) addCheckpointImage(name, location string) {
	r.t.Helper()
	layout := r.t.TempDir()
	blob := func(kind string, content []byte) ocispec.Descriptor {
		sum := fmt.Sprintf("%x", sha256.Sum256(content))
		must(r.t, os.MkdirAll(filepath.Join(layout, "blobs/sha256"), 0o755))
		must(r.t, os.WriteFile(filepath.Join(layout, "blobs/sha256", sum), content, 0o644))
		return ocispec.Descriptor{MediaType: kind, Digest: digest.Digest("sha256:" + sum), Size: int64(len(content))}
	}
	encode := func(v any) []byte {
		text, err := json.Marshal(v)
		must(r.t, err)
		return text
	}
	content, err := os.ReadFile(location)
	must(r.t, err)
	layer := blob(ocispec.MediaTypeImageLayer, content)
	config := blob(ocispec.MediaTypeImageConfig, encode(ocispec.Image{
		Platform: r.images.Platform(), RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}},
	}))
	manifest := blob(ocispec.MediaTypeImageManifest, encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config,
		Layers:      []ocispec.Descriptor{layer},
		Annotations: map[string]string{"io.kubernetes.cri-o.annotations.checkpoint.name": "count"},
	}))
	manifest.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	must(r.t, os.WriteFile(filepath.Join(layout, "index.json"), encode(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{manifest},
	}), 0o644))
	must(r.t, os.WriteFile(filepath.Join(layout, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	_, err = r.images.LoadLayout(r.t.Context(), layout, image.LoadOptions{})
	must(r.t, err)
}

func (r *real) pod(name string) engine.Pod {
	r.t.Helper()
	p, err := r.RunPod(r.t.Context(), engine.PodConfig{
		Owner: "cri", Name: name, Hostname: name, Net: engine.ModeContainer, LogDir: filepath.Join(r.dir, "logs", name),
	})
	must(r.t, err)
	return p
}

// counting starts a container of an image of the box, or of a checkpoint of one.
func (r *real) counting(p engine.Pod, from string) engine.Container {
	r.t.Helper()
	c, err := r.CreateContainer(r.t.Context(), "cri", p.ID, engine.ContainerConfig{
		Name: "count", Image: from, Log: "count.log", Security: engine.Security{Seccomp: engine.Profile{Type: engine.ProfileDefault}},
	})
	must(r.t, err)
	must(r.t, r.StartContainer(r.t.Context(), "cri", c.ID))
	return c
}

// untilCounts waits until a container has said a number, and returns the last.
func (r *real) untilCounts(c engine.Container, least int) int {
	r.t.Helper()
	for range 500 {
		if all := r.countsOf(c); len(all) > 0 && all[len(all)-1] >= least {
			return all[len(all)-1]
		}
		time.Sleep(10 * time.Millisecond)
	}
	log, _ := os.ReadFile(c.LogPath)
	r.t.Fatalf("it does not count to %d: %s", least, log)
	return 0
}

func (r *real) firstCount(c engine.Container) int {
	r.t.Helper()
	r.untilCounts(c, 1)
	return r.countsOf(c)[0]
}

func (r *real) countsOf(c engine.Container) (all []int) {
	text, _ := os.ReadFile(c.LogPath)
	for line := range strings.Lines(string(text)) {
		if _, number, ok := strings.Cut(line, " count "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(number))
			must(r.t, err)
			all = append(all, n)
		}
	}
	return all
}

func (r *real) endsWith(c engine.Container, code int) {
	r.t.Helper()
	must(r.t, r.StopContainer(r.t.Context(), "cri", c.ID, 20*time.Second))
	got, err := r.Container("cri", c.ID)
	if err != nil || got.Code != code {
		log, _ := os.ReadFile(c.LogPath)
		r.t.Errorf("it ended with %d, %v; want %d; log ends with %s", got.Code, err, code, log[max(0, len(log)-500):])
	}
}

func namesOf(t *testing.T, archive string) (names []string) {
	t.Helper()
	f, err := os.Open(archive)
	must(t, err)
	defer f.Close()
	for r := tar.NewReader(f); ; {
		hdr, err := r.Next()
		if err == io.EOF {
			return names
		}
		must(t, err)
		names = append(names, hdr.Name)
	}
}
