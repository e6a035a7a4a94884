package snapshottest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/test/need"
)

// Mounted mounts m as a container would see it and calls do with its root. It
// happens in a mount namespace that ends with the call.
func Mounted(t *testing.T, m snapshot.Mount, do func(root string) error) {
	t.Helper()
	need.Root(t) // mounting overlays
	at := t.TempDir()
	done := make(chan error)
	go func() {
		// Never unlocked: the thread, and the namespace with it, ends here.
		runtime.LockOSThread()
		done <- func() error {
			if err := mount(m, at); err != nil {
				return err
			}
			return do(at)
		}()
	}()
	if err := <-done; err != nil {
		t.Errorf("in the mounted filesystem: %v", err)
	}
}

// mount mounts m at a directory, in a new namespace of this thread.
func mount(m snapshot.Mount, at string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Chdir(m.Base); err != nil {
		return fmt.Errorf("chdir %s: %w", m.Base, err)
	}
	opts, flags := "lowerdir="+strings.Join(m.Lower, ":"), uintptr(unix.MS_RDONLY)
	if m.Upper != "" {
		opts, flags = opts+",upperdir="+m.Upper+",workdir="+m.Work, 0
	}
	if err := unix.Mount("overlay", at, "overlay", flags, opts); err != nil {
		return fmt.Errorf("mount overlay of %d layers: %w", len(m.Lower), err)
	}
	return unix.Chdir("/")
}
