package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// build makes the directory of e in new/. The root of its files starts as a copy
// of the layer's below, without the files: overlay shows the topmost one's owner
// and mode.
func (s *Store) build(e *entry, lowers []uint64) error {
	dir := s.path("new", num(e.n))
	files := dir
	if e.Kind == layer {
		if err := s.disk.Mkdir(dir, 0o700); err != nil {
			return err
		}
		files = filepath.Join(dir, "fs")
	}
	if err := s.disk.Mkdir(files, 0o755); err != nil {
		return err
	}
	if lowers[0] != base {
		if err := s.disk.Like(files, s.files(lowers[0])); err != nil {
			return err
		}
	}
	if e.Kind == writable {
		return s.disk.Mkdir(s.path("work", num(e.n)), 0o700)
	}
	return nil
}

// publish makes e, which build has made, real.
func (s *Store) publish(e *entry) error {
	if e.Kind == layer {
		data, err := json.Marshal(e.record)
		if err != nil {
			return err
		}
		if err := s.disk.WriteFile(s.path("new", num(e.n), "record"), data); err != nil {
			return err
		}
		// Not fsync of each file: a layer has tens of thousands.
		if err := s.disk.SyncAll(s.path("new")); err != nil {
			return err
		}
	}
	if err := s.disk.Rename(s.path("new", num(e.n)), s.path("snapshots", e.dir())); err != nil {
		return err
	}
	if e.Kind == layer {
		return s.disk.SyncDir(s.path("snapshots"))
	}
	return nil
}

// abandon deletes what a failed making of e has left, at once: the disk may be
// full.
func (s *Store) abandon(e *entry) {
	var err error
	for _, where := range []string{"new", "snapshots"} {
		if moved := s.discard(where, e); !errors.Is(moved, fs.ErrNotExist) {
			err = errors.Join(err, moved)
		}
	}
	if err = errors.Join(err, s.delete(num(e.n))); err != nil {
		s.log.Warn("cannot delete a half-made snapshot; the next start will", "snapshot", e.n, "err", err)
	}
}

// stack lists the layers from key down, top first. The caller holds s.mu.
func (s *Store) stack(key string) ([]uint64, error) {
	if key == "" {
		return []uint64{base}, nil
	}
	var ns []uint64
	for key != "" {
		l, ok := s.layers[key]
		if !ok || !l.settled() {
			return nil, fmt.Errorf("layer %s: %w", key, fault.NotFound)
		}
		ns = append(ns, l.n)
		key = l.Parent
	}
	return ns, nil
}

// files is where the files of layer n are.
func (s *Store) files(n uint64) string { return s.path("snapshots", num(n), "fs") }
