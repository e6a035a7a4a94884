package runfs_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/runfs"
	"github.com/sampan-cloud/sampan/test/need"
)

func TestADirectoryOnADiskBecomesATmpfs(t *testing.T) {
	need.Root(t)
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if onTmpfs(t, dir) {
		t.Skip("the temporary directory is on a tmpfs already")
	}
	t.Cleanup(func() { runfs.Drop(dir) })
	for range 2 { // the second time it is in use, and on a tmpfs
		if err := runfs.Ensure(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "socket"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o711 || !onTmpfs(t, dir) || !runfs.Mounted(dir) {
		t.Errorf("mode %v, on a tmpfs %t, %v; want 711 on a tmpfs", info.Mode(), onTmpfs(t, dir), err)
	}
	for range 2 {
		if err := runfs.Drop(dir); err != nil || runfs.Mounted(dir) {
			t.Errorf("Drop() = %v, mounted %t", err, runfs.Mounted(dir))
		}
	}
}

// A daemon of before may have its socket there.
func TestADirectoryInUseStaysAsItIs(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "socket"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := runfs.Ensure(dir); err != nil || runfs.Mounted(dir) {
		t.Errorf("Ensure() = %v, mounted %t; want nothing mounted", err, runfs.Mounted(dir))
	}
}

func onTmpfs(t *testing.T, dir string) bool {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	return fs.Type == 0x01021994
}
