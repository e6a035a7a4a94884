package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// checkKernel makes an overlay in the store for real, attached to nothing, so
// that a machine that cannot is refused when the store is opened and not when
// the first container starts. The kernel's own words become the error.
func (s *Store) checkKernel() error {
	probe := s.path("new", "probe")
	defer os.RemoveAll(probe)
	for _, dir := range []string{"lower", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(probe, dir), 0o700); err != nil {
			return err
		}
	}
	if err := checkDirentType(probe); err != nil {
		return err
	}
	return checkOverlay(probe)
}

// checkOverlay makes an overlay of the directories lower, upper and work in dir.
func checkOverlay(dir string) error {
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("the kernel has no overlay filesystem: load the module overlay, or use a kernel with CONFIG_OVERLAY_FS: %w", fault.Unsupported)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("mounting overlays needs root (CAP_SYS_ADMIN): %w", fault.Forbidden)
	case err != nil:
		return fmt.Errorf("open overlay: %w", err)
	}
	defer unix.Close(fd)
	for _, opt := range []string{"lower", "upper", "work"} {
		if err = unix.FsconfigSetString(fd, opt+"dir", filepath.Join(dir, opt)); err != nil {
			break
		}
	}
	if err == nil {
		err = unix.FsconfigCreate(fd)
	}
	if err != nil {
		return fmt.Errorf("the filesystem cannot hold the writable layer of an overlay (it may itself be an overlay): choose a data directory on ext4, xfs, btrfs or tmpfs: %w%s: %w",
			err, kernelSays(fd), fault.Unsupported)
	}
	return nil
}

// kernelSays reads the messages that a filesystem context collected.
func kernelSays(fd int) string {
	var said []string
	buf := make([]byte, 1024)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil || n <= 0 {
			break
		}
		// Each begins with its level: "e overlay: ...".
		said = append(said, strings.TrimSpace(strings.TrimLeft(string(buf[:n]), "ewi ")))
	}
	if len(said) == 0 {
		return ""
	}
	return " (" + strings.Join(said, "; ") + ")"
}

// checkDirentType refuses a filesystem that does not tell the types of files in
// directory listings (xfs made with ftype=0): overlay shows whiteouts as files
// there.
func checkDirentType(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	buf := make([]byte, 4096)
	n, err := unix.Getdents(int(d.Fd()), buf)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	const lenAt, typeAt, nameAt = 16, 18, 19 // struct linux_dirent64
	for buf = buf[:n]; len(buf) > nameAt; {
		size := int(buf[lenAt]) | int(buf[lenAt+1])<<8
		if bytes.HasPrefix(buf[nameAt:], []byte("lower\x00")) && buf[typeAt] == unix.DT_UNKNOWN {
			return fmt.Errorf("the filesystem does not report d_type, which overlays need (xfs: make it with -n ftype=1): %w", fault.Unsupported)
		}
		buf = buf[size:]
	}
	return nil
}
