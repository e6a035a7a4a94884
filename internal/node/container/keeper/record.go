package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

const (
	containersDir = "containers"
	recordFile    = "status.json"
)

// record is what a container's directory says of it. One without a PID that has
// not exited is a start that was cut short.
type record struct {
	wire.Status
	Born        uint64   `json:"born,omitempty"` // the process's start time, in the kernel's ticks: PIDs are used again
	Log         wire.Log `json:"log,omitzero"`
	Stdin       bool     `json:"stdin,omitempty"`
	SharedPIDs  bool     `json:"sharedPIDs,omitempty"` // its processes outlive the first
	Filter      string   `json:"filter,omitempty"`     // the name of its seccomp filter
	FilterFlags uint     `json:"filterFlags,omitempty"`
	Aside       string   `json:"aside,omitempty"`     // its cgroup, if its runtime must not see the v2 side of a hybrid machine
	OOMBefore   uint64   `json:"oomBefore,omitempty"` // kills that the cgroup counted before; a new one has none
}

// validID tells whether an ID can name a directory: letters, digits, and inside
// also "_", "." and "-".
func validID(id string) bool {
	for i, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return id != "" && len(id) < 256
}

// save writes the record; a reader sees the old one or the new one.
func (r *record) save(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("status of %s: %w", r.ID, err)
	}
	path := filepath.Join(dir, recordFile)
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil {
		return fmt.Errorf("status of %s: %w", r.ID, err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("status of %s: %w", r.ID, err)
	}
	return nil
}

// load reads the records of all containers under dir. Directories without one
// are starts that had not begun: they are removed.
func load(dir string) ([]record, error) {
	base := filepath.Join(dir, containersDir)
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	var all []record
	var errs []error
	for _, e := range entries {
		var r record
		data, err := os.ReadFile(filepath.Join(base, e.Name(), recordFile))
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		switch {
		case errors.Is(err, os.ErrNotExist):
			errs = append(errs, removeDir(filepath.Join(base, e.Name())))
		case err != nil:
			errs = append(errs, fmt.Errorf("status of %s: %w", e.Name(), err))
		default:
			all = append(all, r)
		}
	}
	return all, errors.Join(errs...)
}
