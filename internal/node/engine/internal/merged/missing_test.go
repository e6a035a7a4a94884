package merged

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/test/need"
)

func TestMakeMissing(t *testing.T) {
	points := []string{"etc/hosts", "etc/hostname"}
	for name, tt := range map[string]struct {
		image func(layer string) error
		want  []string // of the new layer
	}{
		"an empty image lacks everything": {
			func(string) error { return nil },
			[]string{"etc", "etc/hostname", "etc/hosts", "proc"},
		},
		"what is there is not made": {
			func(l string) error {
				return errors.Join(os.MkdirAll(filepath.Join(l, "proc"), 0o755), os.Mkdir(filepath.Join(l, "etc"), 0o755),
					os.WriteFile(filepath.Join(l, "etc/hosts"), []byte("x"), 0o644))
			},
			[]string{"etc", "etc/hostname"},
		},
		"nothing is missing": {
			func(l string) error {
				return errors.Join(os.MkdirAll(filepath.Join(l, "proc"), 0o755), os.Mkdir(filepath.Join(l, "etc"), 0o755),
					os.WriteFile(filepath.Join(l, "etc/hosts"), nil, 0o644), os.Symlink("/nowhere", filepath.Join(l, "etc/hostname")))
			},
			nil,
		},
		"a link in the way stays the image's": {
			func(l string) error { return os.Symlink("elsewhere", filepath.Join(l, "etc")) },
			[]string{"proc"},
		},
		"and so does a file": {
			func(l string) error { return os.WriteFile(filepath.Join(l, "etc"), nil, 0o644) },
			[]string{"proc"},
		},
		"a directory with attributes of its own is not shadowed": {
			func(l string) error {
				return errors.Join(os.Mkdir(filepath.Join(l, "etc"), 0o755), unix.Setxattr(filepath.Join(l, "etc"), "trusted.label", []byte("x"), 0))
			},
			[]string{"proc"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			need.Root(t) // attributes of overlay
			layer, to := t.TempDir(), t.TempDir()
			if err := tt.image(layer); err != nil {
				t.Fatal(err)
			}
			missing, err := FS{Layers: []string{layer}}.MakeMissing(to, []string{"proc"}, points)
			var got []string
			filepath.WalkDir(to, func(path string, _ fs.DirEntry, err error) error {
				if rel, _ := filepath.Rel(to, path); rel != "." {
					got = append(got, rel)
				}
				return err
			})
			if err != nil || !slices.Equal(got, tt.want) || missing != (len(tt.want) > 0) {
				t.Errorf("MakeMissing() = %v, %v and made %q; want %q", missing, err, got, tt.want)
			}
		})
	}
}

func TestADirectoryAboveWhatIsMissingIsAsInTheImage(t *testing.T) {
	f := layers(t)
	etc := filepath.Join(f.Layers[0], "etc")
	if err := errors.Join(os.Chown(etc, 7, 8), os.Chmod(etc, 0o711|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(etc)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if missing, err := f.MakeMissing(to, nil, []string{"etc/hosts", "etc/passwd", "gone/file"}); err != nil || !missing {
		t.Fatalf("MakeMissing() = %v, %v; want some", missing, err)
	}
	got, err := os.Stat(filepath.Join(to, "etc"))
	if err != nil {
		t.Fatal(err)
	}
	st := got.Sys().(*syscall.Stat_t)
	if got.Mode() != want.Mode() || !got.ModTime().Equal(want.ModTime()) || st.Uid != 7 || st.Gid != 8 {
		t.Errorf("etc is %v of %d:%d, changed %v; want %v of 7:8, changed %v", got.Mode(), st.Uid, st.Gid, got.ModTime(), want.Mode(), want.ModTime())
	}
	if _, err := os.Stat(filepath.Join(to, "etc/passwd")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("etc/passwd, which the image has: %v", err)
	}
	if _, err := os.Stat(filepath.Join(to, "gone/file")); err != nil {
		t.Errorf("gone/file, which a whiteout hides: %v", err)
	}
}
