package keeper

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/launch"
)

// mountRoot mounts a container's / where its runtime looks for it. Unlike on
// the native path it is visible on the host, below the keeper's directory.
func mountRoot(r launch.Rootfs, target string) error {
	fd, err := r.Detached()
	if err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount root on %s: %w", target, err)
	}
	// Else the mounts of the container would show on the host.
	return unix.Mount("", target, "", unix.MS_PRIVATE|unix.MS_REC, "")
}
