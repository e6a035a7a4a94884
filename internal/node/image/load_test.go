package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// addWeb adds a small image of two layers.
func addWeb(t *testing.T, s *Store, name string) Image {
	t.Helper()
	img, err := s.AddImage(t.Context(), name, ocispec.Image{}, false,
		bytes.NewReader(layer(t, directory("etc"), file("etc/motd", "hello"))),
		bytes.NewReader(gzipped(t, layer(t, file("etc/more", "x")))))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestSavedImagesLoadElsewhere(t *testing.T) {
	from := openStore(t, Config{})
	img := addWeb(t, from, "web:3")
	if err := from.Tag(t.Context(), "web:3", "registry.local/shop/web"); err != nil {
		t.Fatal(err)
	}
	var archive, again bytes.Buffer
	for _, w := range []io.Writer{&archive, &again} {
		if err := from.Save(t.Context(), w, img.ID.String()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("saving the same image twice gave different bytes")
	}
	ociOnly := repack(t, archive.Bytes(), func(name string) bool { return name != "manifest.json" })
	dockerOnly := repack(t, archive.Bytes(), func(name string) bool { return name != "index.json" && name != "oci-layout" })
	for name, data := range map[string][]byte{
		"both forms in one":  archive.Bytes(),
		"compressed by gzip": gzipped(t, archive.Bytes()),
		"compressed by zstd": zstandard(t, archive.Bytes()),
		"an OCI archive":     ociOnly,
		"a docker archive":   dockerOnly,
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Config{})
			loaded, err := s.Load(t.Context(), bytes.NewReader(data), LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(loaded) != 1 || loaded[0].ID != img.ID {
				t.Fatalf("Load = %+v, want the one image %s", loaded, img.ID)
			}
			got, err := s.Get(t.Context(), "web:3")
			slices.Sort(got.Names)
			want := []string{"docker.io/library/web:3", "registry.local/shop/web:latest"}
			if err != nil || !slices.Equal(got.Names, want) {
				t.Errorf("names = %q, %v; want %q", got.Names, err, want)
			}
			for i, l := range got.Layers {
				if err := s.Unpack(t.Context(), l, t.TempDir(), nil); err != nil {
					t.Errorf("layer %d: %v", i, err)
				}
			}
		})
	}
}

// repack copies a tar's entries that keep wants.
func repack(t *testing.T, data []byte, keep func(name string) bool) []byte {
	t.Helper()
	var out bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(data)), tar.NewWriter(&out)
	for {
		hdr, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !keep(hdr.Name) {
			continue
		}
		if err := w.WriteHeader(hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestLoadOldDockerArchives(t *testing.T) {
	shared := layer(t, file("a", "1"))
	config := ocispec.Image{Platform: amd64, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(shared), digest.FromBytes(shared)}}}
	archive := layer(t,
		directory("aaa"),
		file("aaa/VERSION", "1.0"),
		file("aaa/layer.tar", string(shared)),
		tar.Header{Typeflag: tar.TypeSymlink, Name: "bbb/layer.tar", Linkname: "../aaa/layer.tar"},
		file("c.json", string(marshal(t, config))),
		file("manifest.json", `[{"Config":"c.json","RepoTags":null,"Layers":["aaa/layer.tar","bbb/layer.tar"]}]`),
	)
	s := openStore(t, Config{})
	loaded, err := s.Load(t.Context(), bytes.NewReader(archive), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded) != 1 || len(loaded[0].Layers) != 2 || len(loaded[0].Names) != 0 {
		t.Fatalf("Load = %+v, want one image with two layers and no name", loaded)
	}
	if _, err := s.Get(t.Context(), loaded[0].ID.Encoded()[:12]); err != nil {
		t.Errorf("an image without a name is not found by its ID: %v", err)
	}
}

func TestLoadLayout(t *testing.T) {
	from := openStore(t, Config{})
	img := addWeb(t, from, "web:3")
	var archive bytes.Buffer
	if err := from.Save(t.Context(), &archive, "web:3"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := tar.NewReader(bytes.NewReader(bytes.ReplaceAll(archive.Bytes(), []byte(containerdName), []byte("xx.containerd.image.name"))))
	for {
		hdr, err := r.Next()
		if err == io.EOF {
			break
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, hdr.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct{ given, want string }{
		"a bare tag joins the given name": {"registry.local/shop/web", "registry.local/shop/web:3"},
		"without a name there is the ID":  {"", img.ID.String()},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Config{})
			if _, err := s.LoadLayout(t.Context(), dir, LoadOptions{Name: tt.given}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(t.Context(), tt.want); err != nil {
				t.Errorf("Get(%s) = %v", tt.want, err)
			}
		})
	}
}

func TestBadArchivesAreRefused(t *testing.T) {
	from := openStore(t, Config{})
	addWeb(t, from, "web:3")
	var buf bytes.Buffer
	if err := from.Save(t.Context(), &buf, "web:3"); err != nil {
		t.Fatal(err)
	}
	good := buf.Bytes()
	flipped := bytes.Replace(good, []byte("hello"), []byte("HELLO"), 1)
	noLayers := repack(t, good, func(name string) bool { return name == "index.json" || name == "oci-layout" })
	for name, tt := range map[string]struct {
		data []byte
		kind fault.Kind
		want string
	}{
		"nothing":                  {nil, fault.Invalid, "empty"},
		"not a tar":                {bytes.Repeat([]byte("x"), 4096), fault.Invalid, "no tar archive"},
		"a tar of something else":  {layer(t, file("a", "1")), fault.Invalid, "no manifest.json"},
		"cut off in a blob":        {good[:700], fault.Corrupt, "cut off"},
		"cut off, compressed":      {gzipped(t, good)[:400], fault.Corrupt, ""},
		"a changed blob":           {flipped, fault.Corrupt, "digest"},
		"an index without content": {noLayers, fault.NotFound, "blob sha256:"},
		"a layer that is missing":  {layer(t, file("c.json", fmt.Sprintf(`{"rootfs":{"diff_ids":["%s"]}}`, digest.FromString("x"))), file("manifest.json", `[{"Config":"c.json","Layers":["l.tar"]}]`)), fault.Corrupt, "l.tar is not in the archive"},
		"a bad name":               {layer(t, file("c.json", `{}`), file("manifest.json", `[{"Config":"c.json","RepoTags":["UPPER"]}]`)), fault.Invalid, "UPPER"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Config{})
			_, err := s.Load(t.Context(), bytes.NewReader(tt.data), LoadOptions{})
			if err == nil || fault.Of(err) != tt.kind || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Load = %v (%s), want one line with %q (%s)", err, fault.Of(err), tt.want, tt.kind)
			}
			if images, _ := s.List(t.Context()); len(images) != 0 {
				t.Errorf("a failed load left %d images", len(images))
			}
			left, _ := filepath.Glob(filepath.Join(s.cfg.Root, "*", "*", "*", "*"))
			uploads, _ := filepath.Glob(filepath.Join(s.cfg.Root, "uploads", "*"))
			if len(left)+len(uploads) != 0 {
				t.Errorf("a failed load left %q %q", left, uploads)
			}
		})
	}
}
