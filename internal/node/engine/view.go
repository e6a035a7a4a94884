package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// mountView mounts a read-only filesystem at a directory of the host. With the
// path of a user namespace its owners are as that maps them.
func mountView(m snapshot.Mount, at, users string) error {
	lowers := make([]string, len(m.Lower))
	for i, l := range m.Lower {
		lowers[i] = l
		if !filepath.IsAbs(l) {
			lowers[i] = filepath.Join(m.Base, l)
		}
	}
	if users != "" {
		mapped, err := mapLayers(lowers, users)
		defer closeAll(mapped)
		if err != nil {
			return err
		}
		if len(mapped) == 1 {
			return unix.MoveMount(mapped[0], "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
		}
		for i, fd := range mapped {
			lowers[i] = fmt.Sprintf("/proc/self/fd/%d", fd)
		}
	}
	switch len(lowers) {
	case 0:
		return fmt.Errorf("mount %s: the image has no layers: %w", at, os.ErrInvalid)
	case 1:
		// Overlay wants at least two directories.
		if err := unix.Mount(lowers[0], at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", lowers[0], err)
		}
		return unix.Mount("", at, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	if err := overlay(lowers, at); err != nil {
		return fmt.Errorf("mount overlay of %d layers: %w", len(lowers), err)
	}
	return nil
}

// mapLayers takes read-only mounts of directories, mapped by a user namespace:
// overlay itself cannot be, its layers can.
func mapLayers(dirs []string, users string) (mounts []int, err error) {
	ns, err := os.Open(users)
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	defer ns.Close()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_RDONLY, Userns_fd: uint64(ns.Fd())}
	for _, dir := range dirs {
		fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return mounts, fmt.Errorf("layer %s: %w", dir, err)
		}
		mounts = append(mounts, fd)
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
			return mounts, fmt.Errorf("map the owners of layer %s: %w", dir, err)
		}
	}
	return mounts, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// overlay uses the new mount calls, which take one layer at a time: mount(2)
// has one page for all of them.
func overlay(lowers []string, at string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	for _, l := range lowers {
		if err = unix.FsconfigSetString(fs, "lowerdir+", l); err != nil {
			break
		}
	}
	if err != nil { // before 6.8 there is only one option for all
		escape := strings.NewReplacer(`\`, `\\`, ":", `\:`)
		for i := range lowers {
			lowers[i] = escape.Replace(lowers[i])
		}
		return unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lowers, ":"))
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(mnt)
	return unix.MoveMount(mnt, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
