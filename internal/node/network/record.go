package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// record is a pod's assignment as it is written down: one file a pod, written
// beside and renamed, so that it is there whole or not at all. It lies beside the
// namespace that it speaks of, which does not outlive the kernel either.
type record struct {
	Pod
	Attachment
}

func (r record) addr() netip.Addr { return r.Attachment.Addr.Addr() }
func (r record) link() string     { return linkOf(r.addr()) }

const recordSuffix = ".json"

// recordFile is where the record of a pod is. A pod's ID becomes a file name.
func recordFile(dir, id string) (string, error) {
	if id == "" || len(id) > 200 || strings.HasPrefix(id, ".") || strings.ContainsAny(id, "/\x00") {
		return "", fmt.Errorf("pod ID %q: must be 1 to 200 letters, no slash, no dot in front: %w", id, fault.Invalid)
	}
	return filepath.Join(dir, id+recordSuffix), nil
}

func writeRecord(dir string, r record) error {
	path, err := recordFile(dir, r.ID)
	if err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode assignment: %w", err)
	}
	return writeFile(path, data)
}

// writeFile replaces a file whole. The temporary name begins with a dot, which
// no record's does.
func writeFile(path string, data []byte) error {
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// writeAt replaces the beginning of a file.
func writeAt(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return errors.Join(err, f.Close())
}

// removeRecord forgets a pod. Repeating it is not an error.
func removeRecord(dir, id string) error {
	path, err := recordFile(dir, id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("forget assignment: %w", err)
	}
	return nil
}

// readRecords returns all assignments and removes what a killed process left
// half-written. A record that cannot be read is reported, not guessed at.
func readRecords(dir string) (map[string]record, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read assignments: %w", err)
	}
	records := make(map[string]record, len(entries))
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("remove half-written assignment: %w", err)
			}
			continue
		}
		id, ok := strings.CutSuffix(e.Name(), recordSuffix)
		if !ok {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read assignment: %w", err)
		}
		var r record
		if err := json.Unmarshal(data, &r); err != nil || r.ID != id || !r.addr().Is4() {
			return nil, fmt.Errorf("assignment %s: %w: remove the file and restart its pod", path, fault.Corrupt)
		}
		records[id] = r
	}
	return records, nil
}
