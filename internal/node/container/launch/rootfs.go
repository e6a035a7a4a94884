package launch

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Rootfs says what a container's / is made of: an overlay when Lower is set,
// else the directory Base. It is mounted in the container's own mount namespace
// only, so that nothing is left behind on the host.
type Rootfs struct {
	Base  string   `json:"base"`            // directory that the paths below are relative to
	Lower []string `json:"lower,omitempty"` // read-only layers, top first, relative to Base
	Upper string   `json:"upper,omitempty"` // writable layer, relative to Base; empty for a read-only view
	Work  string   `json:"work,omitempty"`  // overlay's work directory, with Upper
}

// Detached mounts the root where nobody sees it. The caller attaches or closes it.
func (r Rootfs) Detached() (fd int, err error) { return r.mount(nil) }

// mount returns a detached mount of the root. Layers are mapped through the user
// namespace when there is one, so that its root owns what the image's root owns.
func (r Rootfs) mount(users *userns) (fd int, err error) {
	if len(r.Lower) == 0 {
		return r.mountBase(users)
	}
	if users != nil {
		return r.mountMapped(users)
	}
	if len(r.Lower) == 1 && r.Upper == "" {
		// Overlay wants two layers; one alone needs no overlay.
		return Rootfs{Base: r.abs(r.Lower[0])}.mountReadonly()
	}
	lower := make([]string, 0, len(r.Lower))
	for _, l := range r.Lower {
		lower = append(lower, r.abs(l))
	}
	fd, err = r.overlay(lower)
	if errors.Is(err, unix.EINVAL) && !errors.Is(err, fault.Invalid) {
		// Linux before 6.8 takes all layers as one option, of at most 255 bytes
		// this way and of a page by mount(2).
		if old, oldErr := r.overlayByMount(); oldErr == nil {
			return old, nil
		}
	}
	return fd, err
}

// abs is a path of r as the host knows it.
func (r Rootfs) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.Base, path)
}

func (r Rootfs) mountBase(users *userns) (int, error) {
	fd, err := openTree(r.Base, true)
	if err != nil {
		return -1, err
	}
	attr := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if err := attributes(fd, r.Base, true, attr); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	if users != nil {
		if err := users.mapMount(fd, r.Base, false); err != nil {
			_ = unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

func (r Rootfs) mountReadonly() (int, error) {
	fd, err := openTree(r.Base, false)
	if err != nil {
		return -1, err
	}
	attr := unix.MountAttr{Propagation: unix.MS_PRIVATE, Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := attributes(fd, r.Base, false, attr); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// overlay mounts the given layers, top first, one option each.
func (r Rootfs) overlay(lower []string) (int, error) {
	opts := make([]string, 0, len(lower)+2)
	for _, l := range lower {
		opts = append(opts, "lowerdir+="+l)
	}
	if r.Upper != "" {
		opts = append(opts, "upperdir="+r.abs(r.Upper), "workdir="+r.abs(r.Work))
	}
	return mountNew("overlay", opts, 0)
}

// overlayByMount mounts the overlay in the old way, in a mount namespace that
// ends with its thread, and takes a detached copy of it. Paths are relative to
// Base, which lets the most layers fit into the page that mount(2) takes.
func (r Rootfs) overlayByMount() (int, error) {
	for _, l := range append([]string{r.Upper, r.Work}, r.Lower...) {
		if strings.ContainsAny(l, ":,\\") {
			return -1, fmt.Errorf("layer %s: a path with ':', ',' or '\\' needs Linux 6.8: %w", l, fault.Unsupported)
		}
	}
	data := "lowerdir=" + strings.Join(r.Lower, ":")
	if r.Upper != "" {
		data += ",upperdir=" + r.Upper + ",workdir=" + r.Work
	}
	return aside(func() (int, error) { return r.mountAside(data) })
}

func (r Rootfs) mountAside(data string) (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return -1, failed("unshare", "mount namespace", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return -1, failed("make private", "/", err)
	}
	if err := unix.Chdir(r.Base); err != nil {
		return -1, failed("chdir", r.Base, err)
	}
	if err := unix.Mount("overlay", r.Base, "overlay", 0, data); err != nil {
		return -1, failed("mount", "overlay", err)
	}
	return openTree(r.Base, false)
}
