package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"go.etcd.io/bbolt"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// diskError gives a failed write under dir its kind. A full disk is the one
// failure that its reader can do something about, so it says what and where.
func diskError(dir string, err error) error {
	if err == nil || fault.Of(err) == fault.Exhausted {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: the disk that holds %s is full, free some space on it: %w", err, dir, fault.Exhausted)
	}
	return err
}

// disk is every write of the store that must survive a power cut, or whose order
// matters for that. A test cuts the power between any two.
type disk interface {
	Mkdir(path string) error
	SyncDir(path string) error // makes the names in it survive
	SyncFile(f *os.File) error
	Rename(from, to string) error
	Remove(path string) error
	Update(db *bbolt.DB, change func(*bbolt.Tx) error) error // all or nothing
}

// host is the machine's own disk.
type host struct{}

func (host) Mkdir(path string) error      { return os.Mkdir(path, 0o700) }
func (host) SyncFile(f *os.File) error    { return f.Sync() }
func (host) Rename(from, to string) error { return os.Rename(from, to) }
func (host) Remove(path string) error     { return os.Remove(path) }

func (host) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (host) Update(db *bbolt.DB, change func(*bbolt.Tx) error) error { return db.Update(change) }

// makeDir makes dir, one level below a directory that exists, and makes its
// name survive a power cut.
func (b *Blobs) makeDir(dir string) error {
	if _, known := b.made.Load(dir); known {
		return nil
	}
	if err := b.disk.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// One that was there too: whoever made it may have been killed before this.
	if err := b.disk.SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	b.made.Store(dir, true)
	return nil
}
