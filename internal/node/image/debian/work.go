package debian

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A work directory holds one build's files. Its lock tells that the builder
// lives; the kernel gives it up with the process.
type work struct {
	dir  string
	lock *os.File
}

// begin makes a work directory below cache and deletes those of builders that
// were killed.
func begin(cache string) (work, error) {
	old, err := filepath.Glob(filepath.Join(cache, "build-*"))
	if err != nil {
		return work{}, err
	}
	for _, dir := range old {
		if dead, err := claim(dir); err == nil {
			err = dead.end()
			if err != nil {
				return work{}, err
			}
		}
	}
	dir, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return work{}, err
	}
	return claim(dir)
}

// claim takes a work directory, or fails because another process has it.
func claim(dir string) (work, error) {
	f, err := os.Open(dir)
	if err != nil {
		return work{}, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return work{}, errors.Join(err, f.Close())
	}
	return work{dir, f}, nil
}

// end deletes the directory.
func (w work) end() error { return errors.Join(os.RemoveAll(w.dir), w.lock.Close()) }

// alone runs do while no other build uses apt on the same cache.
func alone(ctx context.Context, cache string, do func() error) error {
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return do()
}
