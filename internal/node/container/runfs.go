package container

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ensureRunFS makes sure that dir ends with the machine's run: after a reboot
// its records would speak of processes that are others by then. On most machines
// /run is a tmpfs; elsewhere dir becomes one, unless it is in use already. A disk
// would also make each start wait for a dozen small files.
func ensureRunFS(dir string) error {
	// Of two daemons that start at once one mounts. The lock goes with the file.
	above, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return fmt.Errorf("container runtime: %w", err)
	}
	defer above.Close()
	if err := unix.Flock(int(above.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("container runtime: lock %s: %w", above.Name(), err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("container runtime: %s: %w", dir, err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		return nil
	}
	if used, err := os.ReadDir(dir); err != nil || len(used) > 0 {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=700"); err != nil {
		return fmt.Errorf("container runtime: mount tmpfs on %s: %w", dir, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("container runtime: make %s private: %w", dir, err)
	}
	return nil
}

// dropRunFS unmounts what ensureRunFS has mounted, if it has.
func dropRunFS(dir string) error {
	if !mounted(dir) {
		return nil
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}
