package peer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What the image is called, and what can be run in it.
const (
	Ref  = "bench.local/tiny:1"
	Tiny = "/tiny" // waits for SIGTERM; with the argument "exit", ends at once
)

// Image is the image of all contestants.
type Image struct {
	Program string // the one program in it
	Archive string // as `docker save` writes it
}

// BuildImage builds it below dir. source is the repository.
func BuildImage(ctx context.Context, source, dir string) (Image, error) {
	return buildImage(ctx, source, dir, "tiny", "./test/bench/tiny", Ref, Tiny)
}

// buildImage makes an image of one program of the repository. file is what both
// are called in dir, and entry where the program is in the image.
func buildImage(ctx context.Context, source, dir, file, pkg, ref, entry string) (Image, error) {
	im := Image{Program: filepath.Join(dir, file), Archive: filepath.Join(dir, file+".tar")}
	if err := Build(ctx, source, im.Program, pkg); err != nil {
		return im, err
	}
	layer, err := layerOf(im.Program, entry)
	if err != nil {
		return im, err
	}
	img, err := imageOf(layer, entry)
	if err != nil {
		return im, fmt.Errorf("image: %w", err)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return im, err
	}
	return im, tarball.WriteToFile(im.Archive, tag, img)
}

func layerOf(program, entry string) ([]byte, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	// The mount points that every runtime wants.
	for _, dir := range []string{"dev/", "etc/", "proc/", "sys/", "tmp/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: entry[1:], Mode: 0o755, Size: int64(len(data))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	return layer.Bytes(), w.Close()
}

func imageOf(layer []byte, entry string) (v1.Image, error) {
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer, types.DockerUncompressedLayer))
	if err != nil {
		return nil, err
	}
	c, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", runtime.GOARCH
	c.Config.Entrypoint = []string{entry}
	return mutate.ConfigFile(img, c)
}

// Build compiles a program of the repository.
func Build(ctx context.Context, source, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir, cmd.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, tail(string(said)))
	}
	return nil
}
