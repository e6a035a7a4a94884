package debian

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/test/need"
)

// TestDebiansOwnPackagesRun builds images of real packages and runs them. It
// needs root for chroot and Debian's archive.
func TestDebiansOwnPackagesRun(t *testing.T) {
	need.Root(t) // chroot
	if testing.Short() {
		t.Skip("downloads packages")
	}
	cache := t.TempDir()
	var last Progress
	for name, tt := range map[string]struct {
		packages, run []string
		says          string
	}{
		"nginx accepts its configuration": {[]string{"nginx"}, []string{"/usr/sbin/nginx", "-t", "-q", "-g", "error_log stderr;"}, ""},
		"busybox has a shell and its tools": {[]string{"busybox"}, []string{"/bin/sh", "-c", "echo hello | tr a-z A-Z; id -un; cat /etc/os-release"},
			"HELLO\nroot\nPRETTY_NAME="},
		"redis says its version": {[]string{"redis-server"}, []string{"/usr/bin/redis-server", "--version"}, "Redis server"},
		"any other gets a shell": {[]string{"ca-certificates"}, []string{"/bin/sh", "-c", "grep -c BEGIN /etc/ssl/certs/ca-certificates.crt && ls -d /usr/share/doc/*/"}, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Build(t.Context(), Options{Name: "live", Packages: tt.packages, Cache: cache, Progress: func(p Progress) { last = p }})
			if kind := fault.Of(err); kind == fault.Unavailable || kind == fault.Unsupported {
				t.Skip(err)
			}
			if err != nil {
				t.Fatalf("Build: %v", err)
			}
			defer m.Close()
			if last.Step != "write" {
				t.Errorf("the last progress is %+v, want write", last)
			}
			root := extract(t, m.Layer)
			cmd := exec.Command(tt.run[0], tt.run[1:]...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
			cmd.Dir, cmd.Env = "/", m.Config.Config.Env
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), tt.says) {
				t.Errorf("%q = %v: %s", tt.run, err, out)
			}
			t.Logf("%s: %d packages, %d MiB", m.DiffID, len(m.Packages), m.Size>>20)
		})
	}
}

// extract unpacks a layer into a directory, in the order of the tar.
func extract(t *testing.T, layer string) string {
	t.Helper()
	root := t.TempDir()
	f, err := os.Open(layer)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return root
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.Mkdir(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		case tar.TypeLink:
			err = os.Link(filepath.Join(root, h.Linkname), path)
		default:
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, content, os.FileMode(h.Mode&0o777))
			}
		}
		if err != nil {
			t.Fatalf("extract %s: %v", h.Name, err)
		}
	}
}
