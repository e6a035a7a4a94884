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
	return s.commit(ctx, key, parent, false, func(ctx context.Context, dir string, below func(context.Context) ([]string, error)) error {
		lowers, err := below(ctx)
		if err != nil {
			return err
		}
		return fill(ctx, dir, lowers)
	})
}

// CommitAhead is Commit that does not wait for a parent which is just being
// committed: below does, when fill needs the layers there. Until then the
// directory's own owner and mode are not the parent's, and are fill's to set.
func (s *Store) CommitAhead(ctx context.Context, key, parent string, fill func(ctx context.Context, dir string, below func(context.Context) ([]string, error)) error) error {
	return s.commit(ctx, key, parent, true, fill)
}

func (s *Store) commit(ctx context.Context, key, parent string, ahead bool, fill func(context.Context, string, func(context.Context) ([]string, error)) error) error {
	if key == "" || key == parent {
		return fmt.Errorf("commit layer %q on %q: %w", key, parent, fault.Invalid)
	}
	for {
		e, again, err := s.claim(ctx, key, parent, ahead)
		if again {
			continue
		}
		if err != nil {
			return fmt.Errorf("commit layer %s: %w", key, err)
		}
		if e == nil {
			return nil
		}
		if err := s.fill(ctx, e, fill); err != nil {
			s.abandon(e)
			return s.settle(e, fmt.Errorf("commit layer %s: %w", key, exhausted(err)))
		}
		return s.settle(e, nil)
	}
}

// claim gives the caller the layer to make, or nil when it is there. It waits
// while somebody else makes it or, unless ahead is set, its parent; again asks
// for another look.
func (s *Store) claim(ctx context.Context, key, parent string, ahead bool) (e *entry, again bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if made, ok := s.layers[key]; ok {
		if made.Parent != parent {
			return nil, false, fmt.Errorf("it stands on %q, not on %q: %w", made.Parent, parent, fault.Invalid)
		}
		again, err = s.waitFor(ctx, made)
		return nil, again, err
	}
	on := uint64(base)
	if parent != "" {
		below, ok := s.layers[parent]
		if !ok {
			return nil, false, fmt.Errorf("layer %s: %w", parent, fault.NotFound)
		}
		if !ahead && !below.settled() {
			again, err = s.waitFor(ctx, below)
			return nil, again || err == nil, err
		}
		on = below.n
	}
	return s.enter(record{Kind: layer, Key: key, Parent: parent}, on), false, nil
}

func (s *Store) fill(ctx context.Context, e *entry, fill func(context.Context, string, func(context.Context) ([]string, error)) error) error {
	if err := s.build(e, s.known(e)); err != nil {
		return err
	}
	below := func(ctx context.Context) ([]string, error) { return s.below(ctx, e) }
	dir := s.path("new", num(e.n), "fs")
	if err := fill(ctx, dir, below); err != nil {
		return err
	}
	// No layer is there before the one that it stands on.
	if _, err := below(ctx); err != nil {
		return err
	}
	var err error
	if e.Bytes, _, err = measure(dir); err != nil {
		return err
	}
	return s.publish(e)
}

// known is what a layer stands on whose root it may begin with: the base, while
// the layer below is being made.
func (s *Store) known(e *entry) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.layers[e.Parent]; ok && l.settled() {
		return []uint64{l.n}
	}
	return []uint64{base}
}

// below waits for the layers below one that is being made, and returns their
// directories, top first.
func (s *Store) below(ctx context.Context, e *entry) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, ok := s.layers[e.Parent]; ok && !l.settled() {
		if _, err := s.waitFor(ctx, l); err != nil {
			return nil, fmt.Errorf("the layer below: %w", err)
		}
	}
	ns, err := s.stack(e.Parent)
	if err != nil {
		return nil, err
	}
	if ns[0] != e.on {
		return nil, fmt.Errorf("the layer below, %s, was made anew meanwhile: %w", e.Parent, fault.Unavailable)
	}
	var dirs []string
	for _, n := range ns {
		if n != base {
			dirs = append(dirs, s.files(n))
		}
	}
	return dirs, nil
}

// Has tells whether a layer is committed.
func (s *Store) Has(_ context.Context, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.layers[key]
	return ok && e.settled()
}
