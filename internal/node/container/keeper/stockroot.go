package keeper

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/launch"
)

// mountRoot mounts a container's / where its runtime looks for it. Unlike on
// the native path it is visible on the host, below the keeper's directory.
func mountRoot(r launch.Rootfs, target string) error {
	abs := func(p string) string {
		if filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(r.Base, p)
	}
	var err error
	switch {
	case len(r.Lower) == 0:
		err = unix.Mount(r.Base, target, "", unix.MS_BIND|unix.MS_REC, "")
	case len(r.Lower) == 1 && r.Upper == "":
		err = unix.Mount(abs(r.Lower[0]), target, "", unix.MS_BIND, "")
		if err == nil {
			err = unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	default:
		err = mountOverlay(r, abs, target)
	}
	if err != nil {
		return fmt.Errorf("mount root on %s: %w", target, err)
	}
	return unix.Mount("", target, "", unix.MS_PRIVATE|unix.MS_REC, "")
}

func mountOverlay(r launch.Rootfs, abs func(string) string, target string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	options := [][2]string{}
	for _, l := range r.Lower {
		options = append(options, [2]string{"lowerdir+", abs(l)})
	}
	if r.Upper != "" {
		options = append(options, [2]string{"upperdir", abs(r.Upper)}, [2]string{"workdir", abs(r.Work)})
	}
	for _, o := range options {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return fmt.Errorf("overlay %s=%s: %w", o[0], o[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return unix.MoveMount(mount, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
