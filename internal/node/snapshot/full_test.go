package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/test/need"
)

func TestAFullDiskLeavesRoomAgain(t *testing.T) {
	need.Root(t) // a disk of its own
	dir := t.TempDir()
	done := make(chan error)
	go func() {
		// Never unlocked: the thread, and with it the small disk, ends here.
		runtime.LockOSThread()
		done <- fillUp(t.Context(), dir)
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// fillUp commits a layer that is too large for the disk, and then smaller ones.
func fillUp(ctx context.Context, dir string) error {
	if err := errors.Join(
		unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"),
	); err != nil {
		return err
	}
	s, err := snapshot.Open(snapshot.Config{Root: dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer s.Close()
	of := func(size int) func(context.Context, string, []string) error {
		return func(_ context.Context, dir string, _ []string) error {
			return os.WriteFile(filepath.Join(dir, "data"), make([]byte, size), 0o600)
		}
	}
	if err := s.Commit(ctx, "large", "", of(2<<20)); fault.Of(err) != fault.Exhausted {
		return fmt.Errorf("Commit of 2 MiB on a disk of 1 = %w, want kind %q", err, fault.Exhausted)
	}
	for _, key := range []string{"a", "b", "c"} {
		if err := s.Commit(ctx, key, "", of(200<<10)); err != nil {
			return fmt.Errorf("a small layer after the large one: %w", err)
		}
	}
	if _, err := s.Prepare(ctx, "m", "a"); err != nil {
		return fmt.Errorf("Prepare after the large layer: %w", err)
	}
	return nil
}
