package e2e

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An archive that is damaged or means harm is refused with one line that names
// what is wrong, and nothing of it stays.
func TestLoadRefuses(t *testing.T) {
	h := shared(t)
	before := h.must(t, "images")
	outside := filepath.Join(t.TempDir(), "outside")
	for name, tt := range map[string]struct {
		entries []tar.Header // of a layer; none is a layer with a wrong digest
		want    []string
	}{
		"a layer that is not what its digest says": {nil, []string{"blobs/sha256/", "have digest sha256:", "corrupt"}},
		"a path with ..":   {[]tar.Header{{Name: "etc/../../escaped"}}, []string{badImage, "etc/../../escaped", "out of the image"}},
		"an absolute path": {[]tar.Header{{Name: outside}}, []string{badImage, outside, "absolute"}},
		"a path through a symbolic link": {[]tar.Header{
			{Typeflag: tar.TypeSymlink, Name: "way", Linkname: filepath.Dir(outside)},
			{Name: "way/outside"},
		}, []string{badImage, "way/outside", "outside through the symbolic link"}},
		"a hard link to a file outside": {[]tar.Header{
			{Typeflag: tar.TypeLink, Name: "passwd", Linkname: "../../../../etc/passwd"},
		}, []string{badImage, "passwd", "out of the image"}},
	} {
		t.Run(name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "bad.tar")
			var err error
			if tt.entries == nil {
				err = writeDamaged(archive)
			} else {
				err = writeLayer(archive, tt.entries)
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := h.sampan("image", "load", archive)
			_, line, found := strings.Cut(out, "sampan: load") // after the progress
			if err == nil || !found || strings.Count(line, "\n") != 1 {
				t.Errorf("image load: %v, %q; want one line of error", err, out)
			}
			for _, want := range tt.want {
				if !strings.Contains(line, want) {
					t.Errorf("image load said %q, want %q in it", line, want)
				}
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Errorf("%s was written", outside)
			}
			if after := h.must(t, "images"); names(after) != names(before) {
				t.Errorf("images afterwards:\n%s\nwere before:\n%s", after, before)
			}
		})
	}
}

// names are the first words of a table's lines: ages change meanwhile.
func names(table string) string {
	var b strings.Builder
	for line := range strings.Lines(table) {
		word, _, _ := strings.Cut(line, " ")
		b.WriteString(word + "\n")
	}
	return b.String()
}

const badImage = "registry.local/test/bad:1"

// writeLayer writes an archive, as `docker save` does, of an image whose only
// layer has these entries.
func writeLayer(path string, entries []tar.Header) error {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, e := range entries {
		e.Mode = 0o644
		if err := w.WriteHeader(&e); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer.Bytes(), types.DockerUncompressedLayer))
	if err != nil {
		return err
	}
	return save(path, img)
}

// writeBig writes an archive of an image with one layer of random bytes.
func writeBig(path string, size int64) error {
	img, err := random.Image(size, 1)
	if err != nil {
		return err
	}
	return save(path, img)
}

func save(path string, img v1.Image) error {
	tag, err := name.NewTag(badImage)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(path, tag, img)
}

// writeDamaged writes an archive of an OCI layout in which one byte of a layer is
// another.
func writeDamaged(path string) error {
	dir := strings.TrimSuffix(path, ".tar")
	img, err := random.Image(1<<16, 1)
	if err != nil {
		return err
	}
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": badImage})
	if err := l.AppendImage(img, named); err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	digest, err := layers[0].Digest()
	if err != nil {
		return err
	}
	blob := filepath.Join(dir, "blobs", digest.Algorithm, digest.Hex)
	data, err := os.ReadFile(blob)
	if err != nil {
		return err
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(blob, data, 0o644); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return w.Close()
}
