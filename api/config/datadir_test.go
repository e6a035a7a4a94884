package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestADataDirectoryOfANewerVersionIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		version string
		want    error
	}{
		"of this version": {"1\n", nil},
		"of a newer one":  {"2\n", fault.Precondition},
		"of nobody's":     {"banana\n", fault.Corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte(tt.version), 0o600); err != nil {
				t.Fatal(err)
			}
			err := CheckDataDir(dir)
			if !errors.Is(err, tt.want) || tt.want != nil && !strings.Contains(err.Error(), dir) {
				t.Errorf("CheckDataDir = %v, want %v and the directory's name", err, tt.want)
			}
		})
	}
	dir := t.TempDir()
	if err := errors.Join(CheckDataDir(dir), MarkDataDir(dir), CheckDataDir(dir)); err != nil {
		t.Errorf("a new directory, marked: %v", err)
	}
}
