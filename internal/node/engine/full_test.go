package engine_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/fake"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// TestADiskThatFillsUpWhileUnpacking pulls an image that fits as a blob and does
// not unpacked.
func TestADiskThatFillsUpWhileUnpacking(t *testing.T) {
	needRoot(t)
	disk := t.TempDir()
	must(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"))
	t.Cleanup(func() { must(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	enlarge := func(size string) { must(t, unix.Mount("", disk, "", unix.MS_REMOUNT, "size="+size)) }

	quiet := slog.New(slog.DiscardHandler)
	images, err := image.Open(image.Config{Root: filepath.Join(disk, "images")}, quiet)
	must(t, err)
	t.Cleanup(func() { must(t, images.Close()) })
	layers, err := snapshot.Open(snapshot.Config{Root: filepath.Join(disk, "snapshots")}, quiet)
	must(t, err)
	t.Cleanup(func() { must(t, layers.Close()) })
	w := &world{t: t, dir: t.TempDir(), runtime: fake.NewRuntime(), network: fake.NewNetwork()}
	e, err := engine.Open(engine.Config{Dir: w.dir}, engine.Parts{
		Runtime: w.runtime, Network: w.network, Snapshots: layers, Images: images, Seccomp: seccomp.Default,
	}, quiet)
	must(t, err)
	ref := pushZeros(t, 40<<20)

	free := func() uint64 {
		t.Helper()
		var fs unix.Statfs_t
		must(t, unix.Statfs(disk, &fs))
		return fs.Bavail * uint64(fs.Bsize)
	}
	before := free()
	_, err = e.PullImage(t.Context(), ref, image.PullOptions{})
	if fault.Of(err) != fault.Exhausted || !strings.Contains(err.Error(), "is full, free some space on it") || !strings.Contains(err.Error(), "nothing of the image was kept") {
		t.Fatalf("PullImage on a disk too small = %v, want kind %q with what to do", err, fault.Exhausted)
	}
	if list, err := e.Images(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("Images after it = %v, %v; want none", list, err)
	}
	for limit := time.Now().Add(10 * time.Second); free() < before-1<<20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d bytes are free, %d were before the pull", free(), before)
		}
	}

	// One that was there before, such as one that was pushed, is not lost.
	if _, err := images.Pull(t.Context(), ref, image.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = e.PullImage(t.Context(), ref, image.PullOptions{})
	if fault.Of(err) != fault.Exhausted || !strings.Contains(err.Error(), "the image stays, not unpacked") {
		t.Fatalf("PullImage of what is there = %v, want kind %q", err, fault.Exhausted)
	}
	if list, err := e.Images(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("Images after it = %v, %v; want the one", list, err)
	}

	enlarge("200m")
	img, err := e.PullImage(t.Context(), ref, image.PullOptions{})
	must(t, err)
	if top := img.Layers[len(img.Layers)-1].ChainID.String(); !layers.Has(t.Context(), top) {
		t.Error("the next pull, on a disk large enough, did not unpack the image")
	}
}

// pushZeros puts an image into a registry whose one file takes size bytes, and
// next to nothing compressed.
func pushZeros(t *testing.T, size int64) string {
	t.Helper()
	reg := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(reg.Close)
	images, err := image.Open(image.Config{Root: t.TempDir()}, slog.New(slog.DiscardHandler))
	must(t, err)
	defer images.Close()
	var layer bytes.Buffer
	z := gzip.NewWriter(&layer)
	a := tar.NewWriter(z)
	must(t, a.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: size}))
	_, err = a.Write(make([]byte, size))
	must(t, err)
	must(t, a.Close())
	must(t, z.Close())
	ref := strings.TrimPrefix(reg.URL, "http://") + "/big:1"
	_, err = images.AddImage(t.Context(), ref, ocispec.Image{Platform: images.Platform()}, true, &layer)
	must(t, err)
	_, err = images.Push(t.Context(), ref, image.PushOptions{})
	must(t, err)
	return ref
}
