package snapshot_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/internal/node/snapshot/snapshottest"
	"github.com/sampan-cloud/sampan/test/need"
)

// start opens the store in dir and runs it. end stops it without a goodbye.
func start(t *testing.T, dir string) (s *snapshot.Store, end func()) {
	t.Helper()
	need.Root(t) // overlays
	s, err := snapshot.Open(snapshot.Config{Root: dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx, func() {}); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return s, func() {
		cancel()
		wg.Wait()
		s.Close()
	}
}

func TestStore(t *testing.T) {
	snapshottest.Run(t, func(t *testing.T, dir string) (snapshottest.Snapshots, func()) { return start(t, dir) })
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	_, end := start(t, dir)
	defer end()
	if _, err := snapshot.Open(snapshot.Config{Root: dir}, slog.New(slog.DiscardHandler)); fault.Of(err) != fault.Precondition {
		t.Errorf("second Open = %v, want kind %q", err, fault.Precondition)
	}
}

func TestRemovedSpaceIsFreedAfterARestartToo(t *testing.T) {
	dir := t.TempDir()
	_, end := start(t, dir)
	end() // Run is over: what is removed now stays in the trash
	s, err := snapshot.Open(snapshot.Config{Root: dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if _, err := s.Prepare(t.Context(), "c", ""); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	if err := s.Remove(t.Context(), "c"); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if n := count(t, dir, "trash"); n != 1 {
		t.Errorf("%d entries in the trash, want 1", n)
	}
	s.Close()
	_, end = start(t, dir)
	defer end()
	for late := time.Now().Add(5 * time.Second); count(t, dir, "trash") != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the trash is not emptied")
		}
	}
}

func TestANewerStoreIsRefusedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	record := filepath.Join(dir, "snapshots", "7", "record")
	if err := os.MkdirAll(filepath.Dir(record), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, []byte(`{"kind":"erofs","key":"a"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Open(snapshot.Config{Root: dir}, slog.New(slog.DiscardHandler)); fault.Of(err) != fault.Unsupported {
		t.Errorf("Open = %v, want kind %q", err, fault.Unsupported)
	}
	if _, err := os.Stat(record); err != nil {
		t.Errorf("the newer entry: %v", err)
	}
}

func count(t *testing.T, dir, sub string) int {
	t.Helper()
	names, err := os.ReadDir(filepath.Join(dir, sub))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
