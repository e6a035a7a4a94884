package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// load clears what the last process left half-made and reads the entries.
func (s *Store) load() error {
	if err := s.clearNew(); err != nil {
		return err
	}
	if err := s.checkKernel(); err != nil {
		return err
	}
	names, err := os.ReadDir(s.path("snapshots"))
	if err != nil {
		return err
	}
	layers, mounts := map[uint64]*entry{base: {}}, []*entry{}
	for _, d := range names {
		e, err := s.read(d.Name())
		if err != nil {
			return err
		}
		switch {
		case e == nil:
			continue
		case e.Kind == layer:
			layers[e.n] = e
			s.layers[e.Key] = e
		default:
			mounts = append(mounts, e)
		}
		s.next = max(s.next, e.n+1)
	}
	for _, e := range mounts {
		if err := s.adopt(e, layers[e.on]); err != nil {
			return err
		}
	}
	if err := s.clearWork(); err != nil {
		return err
	}
	s.rouse()
	return s.makeBase()
}

// read makes an entry of what is in snapshots/. It returns nil for what is none.
func (s *Store) read(name string) (*entry, error) {
	if e, ok := parseMount(name); ok {
		return e, nil
	}
	n, err := strconv.ParseUint(name, 10, 64)
	if err != nil || n == base {
		return nil, nil
	}
	e := made(n)
	data, err := os.ReadFile(s.path("snapshots", name, "record"))
	if err == nil {
		err = json.Unmarshal(data, &e.record)
	}
	switch {
	case err == nil && e.Kind == layer:
		return e, nil
	case err == nil && e.Kind != writable && e.Kind != view:
		return nil, fmt.Errorf("snapshot %d is a %q: made by a newer version: %w", n, e.Kind, fault.Unsupported)
	}
	// A layer is made again when an image needs it. Early stores gave prepared
	// filesystems a record; their containers are forgotten.
	s.log.Warn("dropping a snapshot that has no layer's record", "snapshot", n, "kind", e.Kind, "err", err)
	e.Kind = layer
	return nil, s.discard("snapshots", e)
}

// adopt takes a prepared filesystem, found on disk, into the map.
func (s *Store) adopt(e, below *entry) error {
	if below == nil {
		// Only a power cut does this: removing the one was forgotten, removing the
		// other was not.
		s.log.Warn("dropping a filesystem whose layer is gone", "snapshot", e.n, "name", e.Key)
		return s.discard("snapshots", e)
	}
	e.Parent = below.Key
	s.mounts[e.Key] = e
	if e.Kind != writable {
		return nil
	}
	// The same: its name was on the medium, and this one's not yet.
	if err := s.disk.Mkdir(s.path("work", num(e.n)), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// clearNew throws away what was being built.
func (s *Store) clearNew() error {
	for _, dir := range []string{"trash", "new"} {
		names, err := os.ReadDir(s.path(dir))
		if err != nil {
			return err
		}
		for _, d := range names {
			n, err := strconv.ParseUint(d.Name(), 10, 64)
			if err != nil {
				continue
			}
			s.next = max(s.next, n+1)
			if dir == "new" {
				if err := s.disk.Rename(s.path("new", d.Name()), s.path("trash", d.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// clearWork deletes overlay's directories of filesystems that are no more.
func (s *Store) clearWork() error {
	names, err := os.ReadDir(s.path("work"))
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, e := range s.mounts {
		used[num(e.n)] = true
	}
	for _, d := range names {
		if used[d.Name()] {
			continue
		}
		if err := s.disk.RemoveAll(s.path("work", d.Name())); err != nil {
			return err
		}
	}
	return nil
}
