package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Prepare makes a writable filesystem on top of the layer parent (empty for
// none). Preparing an existing name returns the same filesystem.
func (s *Store) Prepare(ctx context.Context, name, parent string) (Mount, error) {
	return s.prepare(ctx, writable, name, parent)
}

// View is Prepare without the writable part.
func (s *Store) View(ctx context.Context, name, parent string) (Mount, error) {
	return s.prepare(ctx, view, name, parent)
}

func (s *Store) prepare(ctx context.Context, k kind, name, parent string) (Mount, error) {
	fail := func(err error) (Mount, error) {
		return Mount{}, fmt.Errorf("prepare filesystem %q: %w", name, exhausted(err))
	}
	if name == "" || len(escape(name)) > maxName {
		return fail(fault.Invalid)
	}
	for {
		s.mu.Lock()
		lowers, err := s.stack(parent)
		if err != nil {
			s.mu.Unlock()
			return fail(err)
		}
		e, there := s.mounts[name]
		if !there {
			e = s.enter(record{Kind: k, Key: name, Parent: parent}, lowers[0])
		}
		s.mu.Unlock()
		if !there {
			err := s.build(e, lowers)
			if err == nil {
				err = s.publish(e)
			}
			if err != nil {
				s.abandon(e)
				return fail(s.settle(e, err))
			}
			s.settle(e, nil)
			return s.mount(e, lowers), nil
		}
		if e.Kind != k || e.Parent != parent {
			return fail(fmt.Errorf("there is a %s one on layer %q: %w", e.Kind, e.Parent, fault.Exists))
		}
		if again, err := e.wait(ctx); !again {
			if err != nil {
				return fail(err)
			}
			return s.mount(e, lowers), nil
		}
	}
}

// mount describes the overlay of e on lowers. A view's own directory is empty
// and serves as its topmost layer: overlay refuses to show a single one.
func (s *Store) mount(e *entry, lowers []uint64) Mount {
	m := Mount{Base: s.path("snapshots")}
	if e.Kind == view {
		m.Lower = append(m.Lower, e.dir())
	} else {
		m.Upper, m.Work = e.dir(), "../work/"+num(e.n)
	}
	for _, n := range lowers {
		m.Lower = append(m.Lower, num(n)+"/fs")
	}
	return m
}

// Remove deletes a prepared filesystem: it is gone when Remove returns, its
// space a little later. Repeating it is not an error.
func (s *Store) Remove(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.mounts[name]
	for ok && !e.settled() {
		// What making it ends with is not our failure; only our own context is.
		if _, err := s.waitFor(ctx, e); err != nil && ctx.Err() != nil {
			return fmt.Errorf("remove filesystem %q: %w", name, err)
		}
		e, ok = s.mounts[name]
	}
	if !ok {
		return nil
	}
	if err := s.discard("snapshots", e); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove filesystem %q: %w", name, err)
	}
	delete(s.mounts, name)
	s.rouse()
	return nil
}

// Usage tells how much a prepared filesystem's writable part holds.
func (s *Store) Usage(_ context.Context, name string) (Usage, error) {
	s.mu.Lock()
	e, ok := s.mounts[name]
	s.mu.Unlock()
	if !ok || !e.settled() {
		return Usage{}, fmt.Errorf("filesystem %q: %w", name, fault.NotFound)
	}
	bytes, inodes, err := measure(s.path("snapshots", e.dir()))
	if err != nil {
		return Usage{}, fmt.Errorf("measure filesystem %q: %w", name, err)
	}
	return Usage{Time: time.Now(), Bytes: bytes, Inodes: inodes}, nil
}

// Prepared lists the names of all prepared filesystems, so that after a crash
// the engine can remove those that no container has.
func (s *Store) Prepared(context.Context) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.mounts))
}
