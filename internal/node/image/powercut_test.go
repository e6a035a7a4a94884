package image

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
)

var errCut = errors.New("the power is off")

// cutDisk is a disk whose power goes off before its write number left. It knows
// what has reached the medium by then: unsynced content and unsynced names have
// not. The database of names sees to its own.
type cutDisk struct {
	host
	root   string
	left   int
	synced map[uint64]bool     // content of files, by inode
	names  map[string][]func() // how to undo what is not synced, by directory
}

// write does one write, unless the power is off.
func (d *cutDisk) write(do func() error) error {
	if d.left == 0 {
		return errCut
	}
	d.left--
	return do()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// undone notes how a new name goes when its directory is not synced.
func (d *cutDisk) undone(path string, undo func()) {
	dir := filepath.Dir(path)
	d.names[dir] = append(d.names[dir], undo)
}

func (d *cutDisk) Mkdir(path string) error {
	return d.write(func() error {
		err := d.host.Mkdir(path)
		if err == nil {
			d.undone(path, func() { os.RemoveAll(path) })
		}
		return err
	})
}

func (d *cutDisk) Rename(from, to string) error {
	return d.write(func() error {
		err := d.host.Rename(from, to)
		if err == nil {
			d.undone(to, func() { os.Rename(to, from) })
		}
		return err
	})
}

func (d *cutDisk) Remove(path string) error {
	return d.write(func() error { return d.host.Remove(path) })
}

func (d *cutDisk) SyncDir(path string) error {
	return d.write(func() error { delete(d.names, path); return nil })
}

func (d *cutDisk) SyncFile(f *os.File) error {
	return d.write(func() error {
		info, err := f.Stat()
		if err == nil {
			d.synced[info.Sys().(*syscall.Stat_t).Ino] = true
		}
		return err
	})
}

func (d *cutDisk) Update(db *bbolt.DB, change func(*bbolt.Tx) error) error {
	return d.write(func() error { return d.host.Update(db, change) })
}

// lose makes of the directory what the cut leaves of it.
func (d *cutDisk) lose(t *testing.T) {
	t.Helper()
	for _, undo := range d.names {
		for _, u := range slices.Backward(undo) {
			u()
		}
	}
	must(t, filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == "names.db" {
			return err
		}
		info, err := e.Info()
		if err != nil || d.synced[info.Sys().(*syscall.Stat_t).Ino] {
			return err
		}
		return errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 0))
	}))
}

// life is what happens to a store. It returns the images that were promised to
// be there before the power went off.
func life(t *testing.T, s *Store) (names []string, err error) {
	ctx := t.Context()
	for _, name := range []string{"a:1", "b:1", "gone:1"} {
		content := bytes.NewReader(layer(t, file("name", name)))
		if _, err := s.AddImage(ctx, name, ocispec.Image{Platform: s.Platform()}, false, content); err != nil {
			return names, err
		}
		names = append(names, name)
	}
	names = names[:2]
	if err := s.Remove(ctx, "gone:1"); err != nil {
		return names, err
	}
	if _, err := s.GC(ctx); err != nil {
		return names, err
	}
	up, err := s.Blobs().Create()
	if err != nil {
		return names, err
	}
	if _, err := up.Write([]byte("half of an upload")); err != nil {
		return names, err
	}
	return names, up.Close()
}

func TestAPowerCutBetweenAnyTwoWrites(t *testing.T) {
	steps := 0
	for over := false; !over; steps++ {
		t.Run(fmt.Sprintf("before write %d", steps), func(t *testing.T) { over = cutAfter(t, steps) })
	}
	if steps < 40 {
		t.Errorf("the store's life has %d writes: the test has lost its subject", steps)
	}
}

// cutAfter lives until the power goes off, opens the store again and looks. It
// returns true when there were no more writes to cut.
func cutAfter(t *testing.T, steps int) bool {
	quiet := slog.New(slog.DiscardHandler)
	d := &cutDisk{root: t.TempDir(), left: steps, synced: map[uint64]bool{}, names: map[string][]func(){}}
	cfg := Config{Root: d.root, Keep: time.Nanosecond}
	s, err := open(cfg, d, quiet)
	var names []string
	if err == nil {
		names, err = life(t, s)
		must(t, s.Close())
	}
	over := err == nil && d.left > 0
	if err != nil && !errors.Is(err, errCut) {
		t.Fatalf("before the cut: %v", err)
	}
	d.lose(t)

	s, err = Open(cfg, quiet)
	if err != nil {
		t.Fatalf("Open after the cut: %v", err)
	}
	defer s.Close()
	for _, name := range names {
		if _, err := s.Get(t.Context(), name); err != nil {
			t.Errorf("image %s, which was added, is gone: %v", name, err)
		}
	}
	whole(t, s)
	// Nothing stands in the way of living on.
	if _, err := life(t, s); err != nil {
		t.Errorf("living on after the cut: %v", err)
	}
	whole(t, s)
	return over
}

// whole checks that everything with a name is there, and that every blob is what
// its digest says.
func whole(t *testing.T, s *Store) {
	t.Helper()
	images, err := s.List(t.Context())
	must(t, err)
	for _, img := range images {
		must(t, s.reach(img.Target, func(desc ocispec.Descriptor) (bool, error) {
			_, err := s.blobs.Stat(desc.Digest)
			return true, err
		}))
	}
	must(t, s.blobs.walk(t.Context(), func(d digest.Digest, _ fs.FileInfo) error {
		b, err := s.blobs.Open(d)
		if err != nil {
			return err
		}
		defer b.Close()
		if got, err := d.Algorithm().FromReader(b); err != nil || got != d {
			t.Errorf("blob %s has content %s, %v", d, got, err)
		}
		return nil
	}))
}
