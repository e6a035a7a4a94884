// Package runfs makes sure that a directory ends with the machine's run.
//
// What speaks of processes, mounts and namespaces must not be found after a
// reboot: it would speak of others by then. On most machines /run is a tmpfs;
// elsewhere the directory becomes one. A disk would also make every pod and
// container wait for a dozen small files.
package runfs

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const tmpfsMagic = 0x01021994

// Ensure mounts a tmpfs on dir, which must be there, unless it is on one or is
// in use already.
func Ensure(dir string) error {
	// Of two daemons that start at once one mounts. The lock goes with the file.
	above, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer above.Close()
	if err := syscall.Flock(int(above.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", above.Name(), err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if fs.Type == tmpfsMagic {
		return nil
	}
	if used, err := os.ReadDir(dir); err != nil || len(used) > 0 {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("mode=%o", info.Mode().Perm())); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	// So that no mount in it spreads to another mount namespace and stays there.
	if err := syscall.Mount("", dir, "", syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make %s private: %w", dir, err)
	}
	return nil
}

// Drop unmounts what Ensure has mounted, if it has.
func Drop(dir string) error {
	if !Mounted(dir) {
		return nil
	}
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// Mounted tells whether something is mounted on dir itself.
func Mounted(dir string) bool {
	var here, above syscall.Stat_t
	if syscall.Stat(dir, &here) != nil || syscall.Stat(filepath.Dir(dir), &above) != nil {
		return false
	}
	return here.Dev != above.Dev
}
