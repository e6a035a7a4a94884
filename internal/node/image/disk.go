package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

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

// syncDir makes the names in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// makeDir makes dir, one level below a directory that exists, and makes its
// name survive a power cut.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}
