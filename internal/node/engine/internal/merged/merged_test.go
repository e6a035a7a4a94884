package merged

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/test/need"
)

// layers makes an image of two layers with links, whiteouts and an opaque
// directory.
func layers(t *testing.T) FS {
	t.Helper()
	need.Root(t) // whiteouts are devices
	top, low := t.TempDir(), t.TempDir()
	write := func(layer, name, text string) {
		path := filepath.Join(layer, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	write(low, "etc/passwd", "low")
	write(low, "etc/group", "low")
	write(low, "gone/file", "low")
	write(low, "fresh/old", "low")
	write(low, "plain/file", "low")
	write(low, "sub/deep/file", "deep")
	write(top, "etc/passwd", "top")
	write(top, "fresh/new", "top")
	err := errors.Join(
		unix.Mknod(filepath.Join(top, "gone"), unix.S_IFCHR, 0),
		unix.Setxattr(filepath.Join(top, "fresh"), "trusted.overlay.opaque", []byte("y"), 0),
		os.WriteFile(filepath.Join(top, "plain"), nil, 0o644), // a file where a directory was
		os.Symlink("/etc/passwd", filepath.Join(top, "abs")),
		os.Symlink("../../../../etc/passwd", filepath.Join(top, "up")),
		os.Symlink("loop", filepath.Join(top, "loop")),
		os.Symlink("etc", filepath.Join(top, "dir")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return FS{Layers: []string{top, low}}
}

func TestReadFile(t *testing.T) {
	f := layers(t)
	for name, tt := range map[string]struct {
		path, want string
		err        error
	}{
		"the highest layer wins":                  {"/etc/passwd", "top", nil},
		"what only a lower one has":               {"/etc/group", "low", nil},
		"a whiteout hides what is below":          {"/gone/file", "", fs.ErrNotExist},
		"an opaque directory hides its old files": {"/fresh/old", "", fs.ErrNotExist},
		"and shows its new ones":                  {"/fresh/new", "top", nil},
		"a file hides a directory below":          {"/plain/file", "", fs.ErrNotExist},
		"an absolute link stays in the image":     {"/abs", "top", nil},
		"a link cannot climb out":                 {"/up", "top", nil},
		"a path cannot climb out":                 {"/../../etc/passwd", "top", nil},
		"a link on the way":                       {"/dir/group", "low", nil},
		"a link to itself":                        {"/loop", "", fs.ErrInvalid},
		"a directory is no file":                  {"/etc", "", fs.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := f.ReadFile(tt.path)
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("ReadFile(%s) = %q, %v; want %q, %v", tt.path, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestCopyDir(t *testing.T) {
	f := layers(t)
	for name, tt := range map[string]struct {
		dir, file, text string
	}{
		"merged from both layers": {"/etc", "group", "low"},
		"with its directories":    {"/sub", "deep/file", "deep"},
		"through a link":          {"/dir", "passwd", "top"},
	} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			if err := f.CopyDir(tt.dir, to); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(to, tt.file))
			if err != nil || string(got) != tt.text {
				t.Errorf("%s = %q, %v; want %q", tt.file, got, err, tt.text)
			}
			if info, err := os.Stat(filepath.Join(to, tt.file)); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("its mode is not the image's: %v, %v", info, err)
			}
		})
	}
	t.Run("without hidden files", func(t *testing.T) {
		to := t.TempDir()
		if err := f.CopyDir("/fresh", to); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(to, "old")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a hidden file was copied: %v", err)
		}
	})
	t.Run("a directory that is not there is left out", func(t *testing.T) {
		if err := f.CopyDir("/none", t.TempDir()); err != nil {
			t.Error(err)
		}
	})
}
