package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// makeToolbox writes an archive, as `docker save` does, of an image with the one
// program of test/toolbox, and returns its path.
func makeToolbox(dir, ref string) (string, error) {
	program := filepath.Join(dir, "toolbox")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "../toolbox")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build toolbox: %w: %s", err, out)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	layer, err := layerOf(data)
	if err != nil {
		return "", err
	}
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer, types.DockerUncompressedLayer))
	if err != nil {
		return "", err
	}
	c, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", runtime.GOARCH
	c.Config.Entrypoint = []string{"/bin/toolbox"}
	c.Config.Cmd = []string{"sleep"}
	c.Config.Env = []string{"PATH=/bin", "FROM_IMAGE=yes"}
	if img, err = mutate.ConfigFile(img, c); err != nil {
		return "", err
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "toolbox.tar")
	return path, tarball.WriteToFile(path, tag, img)
}

// layerOf is a layer with the toolbox, two users and a few directories. One
// of its commands has a name of its own too, as busybox's have.
func layerOf(toolbox []byte) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	var err error
	add := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err == nil {
			err = w.WriteHeader(&h)
		}
		if err == nil {
			_, err = w.Write(data)
		}
	}
	for dir, mode := range map[string]int64{"bin/": 0o755, "etc/": 0o755, "tmp/": 0o1777, "data/": 0o755} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: mode}, nil)
	}
	add(tar.Header{Name: "bin/toolbox", Mode: 0o755}, toolbox)
	add(tar.Header{Typeflag: tar.TypeLink, Name: "bin/tar", Linkname: "bin/toolbox"}, nil)
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/:/bin/toolbox\nweb:x:1000:1000::/:/bin/toolbox\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nweb:x:1000:\nextra:x:2000:web\n"))
	if err == nil {
		err = w.Close()
	}
	return layer.Bytes(), err
}
