package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Collect deletes committed layers that no prepared filesystem stands on and
// keep does not name. What a kept layer stands on is kept too. freed counts
// what will be free once Run has deleted it.
func (s *Store) Collect(ctx context.Context, keep map[string]bool) (freed int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := make(map[string]bool, len(s.layers))
	hold := func(key string) {
		for key != "" && !used[key] {
			used[key] = true
			if l, ok := s.layers[key]; ok {
				key = l.Parent
			} else {
				key = ""
			}
		}
	}
	for key, wanted := range keep {
		if wanted {
			hold(key)
		}
	}
	for _, m := range s.mounts {
		hold(m.Parent)
	}
	var idle []*entry
	for key, l := range s.layers {
		if !l.settled() {
			hold(key)
		}
	}
	for key, l := range s.layers {
		if !used[key] {
			idle = append(idle, l)
		}
	}
	// Later ones stand on earlier ones: from the top down, a crash in between
	// leaves no layer in the air.
	slices.SortFunc(idle, func(a, b *entry) int { return cmp.Compare(b.n, a.n) })
	defer s.rouse()
	for _, l := range idle {
		if err := ctx.Err(); err != nil {
			return freed, fmt.Errorf("collect layers: %w", err)
		}
		if err := s.discard("snapshots", l); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return freed, fmt.Errorf("collect layer %s: %w", l.Key, err)
		}
		delete(s.layers, l.Key)
		freed += int64(l.Bytes)
	}
	return freed, nil
}

// Run deletes what was removed, in the background, until ctx ends. What is left
// then is deleted after the next start.
func (s *Store) Run(ctx context.Context, ready func()) error {
	ready()
	for {
		s.empty(ctx)
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// empty deletes the trash.
func (s *Store) empty(ctx context.Context) {
	trash, err := os.ReadDir(s.path("trash"))
	if err != nil {
		s.log.Warn("cannot read the trash of the snapshot store", "err", err)
	}
	if len(trash) == 0 {
		return
	}
	// A power cut must not bring an entry back after some of its files are gone.
	if err := s.disk.SyncDir(s.path("snapshots")); err != nil {
		s.log.Warn("cannot sync the snapshot store; leaving its trash", "err", err)
		return
	}
	for _, d := range trash {
		if ctx.Err() != nil {
			return
		}
		if err := s.delete(d.Name()); err != nil {
			s.log.Warn("cannot delete a removed snapshot; will try again", "snapshot", d.Name(), "err", err)
		}
	}
}

// discard throws an entry away by one rename.
func (s *Store) discard(from string, e *entry) error {
	name := num(e.n)
	if from == "snapshots" {
		name = e.dir()
	}
	return s.disk.Rename(s.path(from, name), s.path("trash", num(e.n)))
}

// delete deletes an entry that was thrown away. What a crash leaves of the second
// half, the next start deletes.
func (s *Store) delete(n string) error {
	if err := s.disk.RemoveAll(s.path("trash", n)); err != nil {
		return err
	}
	return s.disk.RemoveAll(s.path("work", n))
}

// rouse tells Run that there is trash.
func (s *Store) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
