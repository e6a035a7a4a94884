package snapshot

import (
	"context"
	"fmt"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Commit makes the layer key on top of parent (empty for the lowest) by letting
// fill write into an empty directory; lowers are the directories of the layers
// below, top first. A committed layer is returned at once; two at the same time
// do the work once. A parent that is just being committed is waited for. When
// Commit returns nil, the layer survives a power cut.
func (s *Store) Commit(ctx context.Context, key, parent string, fill func(ctx context.Context, dir string, lowers []string) error) error {
	if key == "" || key == parent {
		return fmt.Errorf("commit layer %q on %q: %w", key, parent, fault.Invalid)
	}
	for {
		e, lowers, again, err := s.claim(ctx, key, parent)
		if again {
			continue
		}
		if err != nil {
			return fmt.Errorf("commit layer %s: %w", key, err)
		}
		if e == nil {
			return nil
		}
		if err := s.fill(ctx, e, lowers, fill); err != nil {
			s.abandon(e)
			return s.settle(e, fmt.Errorf("commit layer %s: %w", key, exhausted(err)))
		}
		return s.settle(e, nil)
	}
}

// claim gives the caller the layer to make, or nil when it is there. It waits
// while somebody else makes it or its parent; again asks for another look.
func (s *Store) claim(ctx context.Context, key, parent string) (e *entry, lowers []uint64, again bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if made, ok := s.layers[key]; ok {
		if made.Parent != parent {
			return nil, nil, false, fmt.Errorf("it stands on %q, not on %q: %w", made.Parent, parent, fault.Invalid)
		}
		again, err = s.waitFor(ctx, made)
		return nil, nil, again, err
	}
	if below, ok := s.layers[parent]; ok && !below.settled() {
		again, err = s.waitFor(ctx, below)
		return nil, nil, again || err == nil, err
	}
	if lowers, err = s.stack(parent); err != nil {
		return nil, nil, false, err
	}
	return s.enter(record{Kind: layer, Key: key, Parent: parent}, lowers[0]), lowers, false, nil
}

func (s *Store) fill(ctx context.Context, e *entry, lowers []uint64, fill func(context.Context, string, []string) error) error {
	if err := s.build(e, lowers); err != nil {
		return err
	}
	var dirs []string
	for _, n := range lowers {
		if n != base {
			dirs = append(dirs, s.files(n))
		}
	}
	dir := s.path("new", num(e.n), "fs")
	if err := fill(ctx, dir, dirs); err != nil {
		return err
	}
	var err error
	if e.Bytes, _, err = measure(dir); err != nil {
		return err
	}
	return s.publish(e)
}

// Has tells whether a layer is committed.
func (s *Store) Has(_ context.Context, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.layers[key]
	return ok && e.settled()
}
