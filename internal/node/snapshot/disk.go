package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// disk is every write that a Store makes, so that a test can end the world
// between any two of them.
type disk interface {
	Mkdir(path string, mode fs.FileMode) error
	WriteFile(path string, data []byte) error
	// Like gives a directory the owner, mode and extended attributes of another.
	Like(path, model string) error
	Rename(from, to string) error
	RemoveAll(path string) error
	// SyncAll waits until everything written to the filesystem of path is on the
	// medium, SyncDir until the names in one directory are.
	SyncAll(path string) error
	SyncDir(path string) error
}

// host is the real disk.
type host struct{}

func (host) Mkdir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode) // whatever the umask says
}

func (host) WriteFile(path string, data []byte) error { return os.WriteFile(path, data, 0o600) }
func (host) Rename(from, to string) error             { return os.Rename(from, to) }
func (host) RemoveAll(path string) error              { return os.RemoveAll(path) }

func (host) Like(path, model string) error {
	var st unix.Stat_t
	if err := unix.Lstat(model, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: model, Err: err}
	}
	if err := os.Lchown(path, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Chmod(path, st.Mode&0o7777); err != nil {
		return &fs.PathError{Op: "chmod", Path: path, Err: err}
	}
	return copyXattrs(path, model)
}

func (host) SyncAll(path string) error {
	return withDir(path, func(fd int) error { return unix.Syncfs(fd) })
}

func (host) SyncDir(path string) error {
	return withDir(path, func(fd int) error { return unix.Fsync(fd) })
}

func withDir(path string, do func(fd int) error) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := do(int(d.Fd())); err != nil {
		return &fs.PathError{Op: "sync", Path: path, Err: err}
	}
	return nil
}

// measure adds up what the files below dir take. A file with several names
// counts once.
func measure(dir string) (bytes, inodes uint64, err error) {
	seen := make(map[uint64]bool)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil // a running container deletes files while we look
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Nlink > 1 && !info.IsDir() {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		bytes += uint64(st.Blocks) * 512
		inodes++
		return nil
	})
	return bytes, inodes, err
}

// exhausted names a full disk or a full quota as what it is.
func exhausted(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", err, fault.Exhausted)
	}
	return err
}
