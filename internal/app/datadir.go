package app

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// lockPatience is how long a daemon that was killed may take to be gone.
const lockPatience = 2 * time.Second

// lockDataDir makes the data directory this process's own until it ends, and
// refuses one that another process has or a newer version has written.
func lockDataDir(f config.File) (*os.File, error) {
	if err := config.CheckDataDir(f.DataDir); err != nil {
		return nil, err
	}
	for _, dir := range []string{f.DataDir, f.RunDir} {
		// 0711, not 0700: a container's user walks through it to its own files.
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(f.DataDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	// One that was just killed holds it until the kernel has taken it apart.
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for limit := time.Now().Add(lockPatience); err != nil && time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("data directory %s belongs to a running daemon: end it with `sampan down`, or use another dataDir: %w", f.DataDir, fault.Precondition)
	}
	if err := config.MarkDataDir(f.DataDir); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}
