package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// DataFormat is the newest layout of a data directory that this program knows.
// It is raised when an older program could not read what a newer one wrote.
const DataFormat = 1

// CheckDataDir refuses a data directory that a newer program has written. One
// that is not there yet is fine.
func CheckDataDir(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("data directory %s: VERSION holds %q, not a number: %w", dir, strings.TrimSpace(string(data)), fault.Corrupt)
	}
	if n > DataFormat {
		return fmt.Errorf("data directory %s was written by a newer version (format %d; this program knows up to %d): use that version, or another dataDir: %w", dir, n, DataFormat, fault.Precondition)
	}
	return nil
}

// MarkDataDir writes down which format the data directory has.
func MarkDataDir(dir string) error {
	tmp := filepath.Join(dir, "VERSION.new")
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(DataFormat)+"\n"), 0o600); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return os.Rename(tmp, filepath.Join(dir, "VERSION"))
}
