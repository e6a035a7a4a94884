package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	opaqueXattr = "trusted.overlay.opaque"
	paxXattr    = "SCHILY.xattr." // how tar carries an extended attribute
)

// times are when something was last read and changed.
type times struct{ access, change time.Time }

func timesOf(hdr *tar.Header) times {
	access := hdr.AccessTime
	if access.IsZero() {
		access = hdr.ModTime
	}
	return times{access, hdr.ModTime}
}

func (t times) set(at int, name string) error {
	spec := []unix.Timespec{timespec(t.access), timespec(t.change)}
	return unix.UtimesNanoAt(at, name, spec, unix.AT_SYMLINK_NOFOLLOW)
}

func timespec(t time.Time) unix.Timespec {
	ts, err := unix.TimeToTimespec(t)
	if err != nil { // beyond what the machine can say
		return unix.Timespec{}
	}
	return ts
}

// setMeta gives a symbolic link or a special file its owner, mode, attributes
// and times.
func setMeta(at *handle, name string, hdr *tar.Header) error {
	if err := unix.Fchownat(at.fd, name, hdr.Uid, hdr.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if hdr.Typeflag != tar.TypeSymlink { // a symbolic link has no mode
		if err := unix.Fchmodat(at.fd, name, mode(hdr), 0); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
	}
	// There is no setxattrat before Linux 6.13.
	link := fmt.Sprintf("/proc/self/fd/%d/%s", at.fd, name)
	err := setXattrs(hdr, func(attr string, value []byte) error { return unix.Lsetxattr(link, attr, value, 0) })
	if err != nil {
		return err
	}
	if err := timesOf(hdr).set(at.fd, name); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// setMetaFD is setMeta, but for times, of an open file or directory.
func setMetaFD(fd int, hdr *tar.Header) error {
	// First the owner: changing it takes setuid bits and capabilities away.
	if err := unix.Fchown(fd, hdr.Uid, hdr.Gid); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if err := unix.Fchmod(fd, mode(hdr)); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	return setXattrs(hdr, func(attr string, value []byte) error { return unix.Fsetxattr(fd, attr, value, 0) })
}

// mode is a header's permissions with setuid, setgid and sticky bit.
func mode(hdr *tar.Header) uint32 { return uint32(hdr.Mode) & 0o7777 }

func setXattrs(hdr *tar.Header, set func(attr string, value []byte) error) error {
	for key, value := range hdr.PAXRecords {
		attr, ok := strings.CutPrefix(key, paxXattr)
		if !ok || isOverlays(attr) {
			continue
		}
		if err := set(attr, []byte(value)); err != nil && !isOptional(attr, err) {
			return fmt.Errorf("set attribute %s: %w", attr, err)
		}
	}
	return nil
}

// isOverlays tells the attributes by which overlay works. An image that brought
// its own could redirect names to other files.
func isOverlays(attr string) bool {
	return strings.HasPrefix(attr, "trusted.overlay.") || strings.HasPrefix(attr, "user.overlay.")
}

// isOptional tells failures that only mean that this file system keeps no such
// attribute. A program that lost its capabilities would fail later and darkly,
// so those must be kept.
func isOptional(attr string, err error) bool {
	return errors.Is(err, unix.ENOTSUP) && attr != "security.capability" ||
		errors.Is(err, unix.EPERM) && strings.HasPrefix(attr, "user.") // not on links and devices
}

func isOpaque(dir string) bool {
	var value [1]byte
	n, err := unix.Lgetxattr(dir, opaqueXattr, value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// copyXattrs copies the attributes of a path to an open file.
func copyXattrs(from string, fd int) error {
	size, err := unix.Llistxattr(from, nil)
	if err != nil || size == 0 {
		if errors.Is(err, unix.ENOTSUP) {
			err = nil
		}
		return err
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(from, list); err != nil {
		return err
	}
	for attr := range bytes.SplitSeq(list[:size], []byte{0}) {
		name := string(attr)
		if name == "" || isOverlays(name) {
			continue
		}
		value := make([]byte, 64<<10) // the kernel's limit for a value
		n, err := unix.Lgetxattr(from, name, value)
		if err != nil {
			return fmt.Errorf("attribute %s of %s: %w", name, from, err)
		}
		if err := unix.Fsetxattr(fd, name, value[:n], 0); err != nil && !isOptional(name, err) {
			return fmt.Errorf("set attribute %s: %w", name, err)
		}
	}
	return nil
}
