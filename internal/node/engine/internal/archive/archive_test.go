package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestAnArchiveIsReadAsItWasWritten(t *testing.T) {
	d, want := Dir(t.TempDir()), Config{ID: "1", Name: "web", ImageRef: "r/web@sha256:1", Created: time.Now().UTC().Round(0)}
	spec := &specs.Spec{Hostname: "web", Annotations: map[string]string{"io.kubernetes.cri.container-name": "web"}}
	must(t, d.Describe(want, spec, "10.0.0.7/24"))
	write(t, d.Path("checkpoint/pstree.img"), "images")
	write(t, d.Path("volumes/0.tar"), "volume")
	write(t, d.Path("upper.tar"), "not of an archive")
	var b bytes.Buffer
	must(t, d.WriteTo(t.Context(), &b))

	again := Dir(t.TempDir())
	must(t, again.Extract(t.Context(), &b))
	got, err := again.Config()
	if err != nil || got != want {
		t.Errorf("Config = %+v, %v; want %+v", got, err, want)
	}
	if s, err := again.Spec(); err != nil || s.Hostname != "web" {
		t.Errorf("Spec = %+v, %v", s, err)
	}
	if a := again.Address(); a != "10.0.0.7/24" {
		t.Errorf("Address = %q", a)
	}
	for name, want := range map[string]string{"checkpoint/pstree.img": "images", "volumes/0.tar": "volume"} {
		if text, err := os.ReadFile(again.Path(name)); err != nil || string(text) != want {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
	if _, err := os.Stat(again.Path("upper.tar")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("upper.tar: %v; want it left out", err)
	}
}

func TestExtractWritesOnlyWhatAnArchiveHas(t *testing.T) {
	above := t.TempDir()
	d := Dir(filepath.Join(above, "in"))
	must(t, os.Mkdir(string(d), 0o700))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, hdr := range []tar.Header{
		{Name: "./config.dump", Size: 2}, // as tar(1) names it
		{Name: "checkpoint/", Typeflag: tar.TypeDir},
		{Name: "checkpoint/core-1.img"},
		{Name: "../out"}, {Name: "/out"}, {Name: "checkpoint/../../out"}, {Name: "checkpoint/.."}, {Name: "checkpoint/deep/file"},
		{Name: "checkpoint/link", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		{Name: "checkpoint/link/out"},
		{Name: "spec.dump", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"},
		{Name: "other"},
	} {
		must(t, w.WriteHeader(&hdr))
		_, err := w.Write([]byte("{}")[:hdr.Size])
		must(t, err)
	}
	must(t, w.Close())
	must(t, d.Extract(t.Context(), &b))
	var got []string
	must(t, filepath.WalkDir(above, func(path string, e os.DirEntry, err error) error {
		if !e.IsDir() {
			got = append(got, strings.TrimPrefix(path, string(d)+"/"))
		}
		return err
	}))
	if want := []string{"checkpoint/core-1.img", "config.dump"}; !slices.Equal(got, want) {
		t.Errorf("it wrote %v, want %v", got, want)
	}
}

func TestExtractRefusesWhatIsNoArchive(t *testing.T) {
	d := Dir(t.TempDir())
	if err := d.Extract(t.Context(), strings.NewReader(strings.Repeat("no tar ", 200))); fault.Of(err) != fault.Corrupt {
		t.Errorf("Extract = %v, want %v", err, fault.Corrupt)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Extract(ended, strings.NewReader("")); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context: %v", err)
	}
	if _, err := d.Config(); fault.Of(err) != fault.NotFound {
		t.Errorf("without a config.dump: %v", err)
	}
}

func TestDiff(t *testing.T) {
	lower := t.TempDir()
	write(t, filepath.Join(lower, "replaced/old"), "")
	write(t, filepath.Join(lower, "replaced/both"), "")
	xattr := func(name, value string) map[string]string { return map[string]string{"SCHILY.xattr." + name: value} }
	upper := tarOf(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o755, PAXRecords: xattr("trusted.overlay.origin", "x")},
		tar.Header{Name: "./etc/gone", Typeflag: tar.TypeChar},
		tar.Header{Name: "./etc/ping", Mode: 0o755, PAXRecords: xattr("security.capability", "c")},
		tar.Header{Name: "./dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		tar.Header{Name: "./replaced/", Typeflag: tar.TypeDir, PAXRecords: xattr("trusted.overlay.opaque", "y")},
		tar.Header{Name: "./replaced/both"},
	)
	d := Dir(t.TempDir())
	must(t, d.SaveDiff(t.Context(), upper, []string{lower}))

	var deleted []string
	text, err := os.ReadFile(d.Path(deletedFile))
	must(t, err)
	must(t, json.Unmarshal(text, &deleted))
	if want := []string{"/etc/gone", "/replaced/old"}; !slices.Equal(deleted, want) {
		t.Errorf("deleted: %v, want %v", deleted, want)
	}
	layer, err := d.Diff()
	must(t, err)
	defer layer.Close()
	var names []string
	for r := tar.NewReader(layer); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		names = append(names, hdr.Name)
		for key := range hdr.PAXRecords {
			if strings.Contains(key, "overlay") {
				t.Errorf("%s has %s", hdr.Name, key)
			}
		}
		if hdr.Name == "./etc/ping" && hdr.PAXRecords["SCHILY.xattr.security.capability"] != "c" {
			t.Errorf("%s lost its capability", hdr.Name)
		}
	}
	if want := []string{"etc/.wh.gone", "replaced/.wh.old", "./", "./etc/", "./etc/ping", "./dev/null", "./replaced/", "./replaced/both"}; !slices.Equal(names, want) {
		t.Errorf("the layer has %q, want %q", names, want)
	}

	moved := tarOf(t, tar.Header{Name: "./b/", Typeflag: tar.TypeDir, PAXRecords: xattr("trusted.overlay.redirect", "/a")})
	if err := Dir(t.TempDir()).SaveDiff(t.Context(), moved, nil); fault.Of(err) != fault.Unsupported {
		t.Errorf("a directory that overlay has moved: %v, want %v", err, fault.Unsupported)
	}
}

func tarOf(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, hdr := range headers {
		must(t, w.WriteHeader(&hdr))
	}
	must(t, w.Close())
	path := filepath.Join(t.TempDir(), "upper.tar")
	write(t, path, b.String())
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
