package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sampan-cloud/sampan/test/need"
)

var (
	errCut    = errors.New("the power is off")
	errBroken = errors.New("broken layer")
)

// cutDisk is a disk whose power goes off before its write number left. It
// knows what has reached the medium by then.
type cutDisk struct {
	host
	root    string
	left    int
	synced  map[uint64]bool // content of files, by inode
	renames [][2]string     // since their directory was last synced
}

// write does one write, unless the power is off.
func (d *cutDisk) write(do func() error) error {
	if d.left == 0 {
		return errCut
	}
	d.left--
	return do()
}

func (d *cutDisk) Mkdir(path string, mode fs.FileMode) error {
	return d.write(func() error { return d.host.Mkdir(path, mode) })
}

func (d *cutDisk) Like(path, model string) error {
	return d.write(func() error { return d.host.Like(path, model) })
}

func (d *cutDisk) WriteFile(path string, data []byte) error {
	return d.write(func() error { return d.host.WriteFile(path, data) })
}

func (d *cutDisk) RemoveAll(path string) error {
	return d.write(func() error { return d.host.RemoveAll(path) })
}

func (d *cutDisk) Rename(from, to string) error {
	return d.write(func() error {
		err := d.host.Rename(from, to)
		if err == nil {
			d.renames = append(d.renames, [2]string{from, to})
		}
		return err
	})
}

func (d *cutDisk) SyncAll(string) error {
	return d.write(func() error {
		d.renames, d.synced = nil, make(map[uint64]bool)
		return d.files(func(_ string, inode uint64) error { d.synced[inode] = true; return nil })
	})
}

func (d *cutDisk) SyncDir(string) error {
	return d.write(func() error { d.renames = nil; return nil })
}

// lose makes of the directory what a power cut leaves: content that was not
// synced is gone, and, with names, so are renames that were not.
func (d *cutDisk) lose(names bool) error {
	if names {
		for _, r := range slices.Backward(d.renames) {
			// What was renamed into the trash and deleted there cannot come back.
			if err := os.Rename(r[1], r[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return d.files(func(path string, inode uint64) error {
		if d.synced[inode] {
			return nil
		}
		return os.Truncate(path, 0)
	})
}

func (d *cutDisk) files(do func(path string, inode uint64) error) error {
	return filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return do(path, info.Sys().(*syscall.Stat_t).Ino)
	})
}

// life is what happens to a store. It returns what was promised before the
// power went off: layers that are there, and filesystems that are gone.
func life(ctx context.Context, s *Store) (layers []string, removed bool, err error) {
	for _, l := range [][2]string{{"a", ""}, {"b", "a"}, {"idle", ""}} {
		if err := s.Commit(ctx, l[0], l[1], writes(l[0])); err != nil {
			return layers, false, err
		}
		layers = append(layers, l[0])
	}
	if err := s.Commit(ctx, "bad", "b", writesThen("half", errBroken)); !errors.Is(err, errBroken) || errors.Is(err, errCut) {
		return layers, false, err
	}
	for name, parent := range map[string]string{"m": "b", "gone": "b"} {
		if _, err := s.Prepare(ctx, name, parent); err != nil {
			return layers, false, err
		}
	}
	if _, err := s.View(ctx, "v", "a"); err != nil {
		return layers, false, err
	}
	if err := s.Remove(ctx, "gone"); err != nil {
		return layers, false, err
	}
	layers = []string{"a", "b"}
	if _, err := s.Collect(ctx, nil); err != nil {
		return layers, true, err
	}
	s.empty(ctx)
	return layers, true, nil
}

func writes(key string) func(context.Context, string, []string) error { return writesThen(key, nil) }

func writesThen(key string, err error) func(context.Context, string, []string) error {
	return func(_ context.Context, dir string, _ []string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "key"), []byte(strings.Repeat(key, 1000)), 0o600), err)
	}
}

func TestAPowerCutBetweenAnyTwoWrites(t *testing.T) {
	need.Root(t) // overlays
	steps := 0
	for over := false; !over; steps++ {
		for _, loseNames := range []bool{false, true} {
			t.Run(fmt.Sprintf("before write %d, unsynced names lost %v", steps, loseNames), func(t *testing.T) {
				over = cutAfter(t, steps, loseNames)
			})
		}
	}
	if steps < 40 {
		t.Errorf("the store's life has %d writes: the test has lost its subject", steps)
	}
}

// cutAfter lives until the power goes off, opens the store again and looks.
// It returns true when there were no more writes to cut.
func cutAfter(t *testing.T, steps int, loseNames bool) bool {
	quiet := slog.New(slog.DiscardHandler)
	d := &cutDisk{root: t.TempDir(), left: steps}
	s, err := open(Config{Root: d.root}, d, quiet)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	layers, removed, err := life(t.Context(), s)
	over := err == nil && d.left > 0
	if err != nil && !errors.Is(err, errCut) {
		t.Fatalf("before the cut: %v", err)
	}
	s.Close()
	if err := d.lose(loseNames); err != nil {
		t.Fatal(err)
	}

	s, err = open(Config{Root: d.root}, host{}, quiet)
	if err != nil {
		t.Fatalf("open after the cut: %v", err)
	}
	defer s.Close()
	for _, key := range layers {
		if !s.Has(t.Context(), key) {
			t.Errorf("layer %s, which was committed, is gone", key)
		}
	}
	whole(t, s)
	if _, err := s.Usage(t.Context(), "gone"); removed && err == nil && !loseNames {
		t.Error("a removed filesystem is back")
	}
	// Nothing stands in the way of living on.
	if _, _, err := life(t.Context(), s); err != nil {
		t.Errorf("living on after the cut: %v", err)
	}
	whole(t, s)
	if n := len(entries(t, s, "new")) + len(entries(t, s, "trash")); n != 0 {
		t.Errorf("%d half-made or removed entries left", n)
	}
	if got, want := len(entries(t, s, "snapshots")), 5; got != want { // base, a, b, m, v
		t.Errorf("%d entries on disk, want %d", got, want)
	}
	if got, want := len(entries(t, s, "work")), 1; got != want { // m
		t.Errorf("%d of overlay's own directories, want %d", got, want)
	}
	return over
}

// whole checks that every layer has its content and what it stands on.
func whole(t *testing.T, s *Store) {
	t.Helper()
	for key, l := range s.layers {
		got, err := os.ReadFile(filepath.Join(s.files(l.n), "key"))
		if err != nil || string(got) != strings.Repeat(key, 1000) {
			t.Errorf("layer %s has %d bytes, %v; want it whole", key, len(got), err)
		}
		if _, err := s.stack(key); err != nil {
			t.Errorf("layer %s stands on nothing: %v", key, err)
		}
	}
	for name, m := range s.mounts {
		if _, err := s.stack(m.Parent); err != nil {
			t.Errorf("filesystem %s stands on nothing: %v", name, err)
		}
	}
}

func entries(t *testing.T, s *Store, dir string) []os.DirEntry {
	t.Helper()
	names, err := os.ReadDir(s.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	return names
}
