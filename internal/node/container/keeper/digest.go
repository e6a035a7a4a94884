package keeper

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Digest names the contents of a program, so that one that has changed is
// noticed. An unreadable one has none.
func Digest(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// removeDir deletes a container's directory. What is mounted in it is unmounted
// first: a file system must never be deleted through its mount.
func removeDir(dir string) error {
	rootfs := filepath.Join(dir, bundleDir, rootfsDir)
	for {
		err := unix.Unmount(rootfs, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err == unix.EINVAL || err == unix.ENOENT {
			break // nothing is mounted there
		}
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("unmount %s: %w", rootfs, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}
