// Package snapshottest holds the behaviours that every store of layers must
// have, whatever it is made of.
//
// The filesystems are mounted for real, so the tests need root; each mount
// lives in a namespace of its own and leaves nothing behind.
package snapshottest

import (
	"context"
	"testing"

	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// Snapshots is what the engine asks of a store; the contract is there.
type Snapshots interface {
	Commit(ctx context.Context, key, parent string, fill func(ctx context.Context, dir string, lowers []string) error) error
	CommitAhead(ctx context.Context, key, parent string, fill func(ctx context.Context, dir string, below func(context.Context) ([]string, error)) error) error
	Has(ctx context.Context, key string) bool
	Prepare(ctx context.Context, name, parent string) (snapshot.Mount, error)
	View(ctx context.Context, name, parent string) (snapshot.Mount, error)
	Remove(ctx context.Context, name string) error
	Usage(ctx context.Context, name string) (snapshot.Usage, error)
	Collect(ctx context.Context, keep map[string]bool) (freed int64, err error)
}

// Opener opens the store in a directory. restart ends it the way a killed
// process would, so that the same directory can be opened again.
type Opener func(t *testing.T, dir string) (s Snapshots, restart func())

// Run runs all behaviours.
func Run(t *testing.T, open Opener) {
	for _, group := range []map[string]func(*testing.T, Opener){contents, lifecycle, together} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) { test(t, open) })
		}
	}
}

// fresh opens a store in a directory of the test's own.
func fresh(t *testing.T, open Opener) Snapshots {
	t.Helper()
	s, end := open(t, t.TempDir())
	t.Cleanup(end)
	return s
}

// commit makes a layer that the test takes for granted.
func commit(t *testing.T, s Snapshots, key, parent string, fill fill) {
	t.Helper()
	if err := s.Commit(t.Context(), key, parent, fill); err != nil {
		t.Fatalf("Commit(%s on %q): %v", key, parent, err)
	}
}

func prepare(t *testing.T, s Snapshots, name, parent string) snapshot.Mount {
	t.Helper()
	m, err := s.Prepare(t.Context(), name, parent)
	if err != nil {
		t.Fatalf("Prepare(%s on %q): %v", name, parent, err)
	}
	return m
}
