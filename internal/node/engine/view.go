package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// mountView mounts a read-only filesystem at a directory of the host.
func mountView(m snapshot.Mount, at string) error {
	lowers := make([]string, len(m.Lower))
	for i, l := range m.Lower {
		lowers[i] = l
		if !filepath.IsAbs(l) {
			lowers[i] = filepath.Join(m.Base, l)
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
