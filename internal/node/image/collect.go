package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// abandoned is how long an upload or a broken download waits for someone to go
// on with it.
const abandoned = 24 * time.Hour

// GC deletes the blobs that no name of any owner leads to, and uploads that
// nobody has touched for a day. It spares what a pull, a push, an unpacking or a
// Hold is using, and uploads younger than Config.Keep.
func (s *Store) GC(ctx context.Context) (freed int64, err error) {
	// No name can be set until this is over, so what is marked stays right.
	s.collect.Lock()
	defer s.collect.Unlock()
	marked, err := s.mark()
	if err != nil {
		return 0, fmt.Errorf("collect blobs: %w", err)
	}
	now := time.Now()
	err = s.blobs.walk(ctx, func(d digest.Digest, info fs.FileInfo) error {
		if marked[d] || info.ModTime().After(now) {
			return nil
		}
		return s.holds.unlessHeld(d, func() error {
			if err := s.blobs.Delete(d); err != nil {
				return err
			}
			freed += info.Size()
			return nil
		})
	})
	if err != nil {
		return freed, fmt.Errorf("collect blobs: %w", err)
	}
	s.forget(marked)
	n, err := s.blobs.removeAbandoned(now.Add(-abandoned))
	if err != nil {
		return freed, fmt.Errorf("collect uploads: %w", err)
	}
	return freed + n, nil
}

// mark returns everything that names lead to.
func (s *Store) mark() (map[digest.Digest]bool, error) {
	s.mu.Lock()
	var roots []Name
	for _, names := range s.owners {
		roots = append(roots, names.List("")...)
	}
	s.mu.Unlock()
	marked := map[digest.Digest]bool{}
	for _, root := range roots {
		err := s.reach(root.Target, func(d ocispec.Descriptor) (bool, error) {
			enter := !marked[d.Digest]
			marked[d.Digest] = true
			return enter, nil
		})
		if err != nil {
			// Deleting with half the roots unknown would lose images.
			return nil, fmt.Errorf("name %s: %w", root.Name, err)
		}
	}
	return marked, nil
}

// forget drops what was resolved of images that are gone.
func (s *Store) forget(marked map[digest.Digest]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := range s.whole {
		if !marked[d] {
			delete(s.whole, d)
		}
	}
}

// removeAbandoned deletes uploads last written before then.
func (b *Blobs) removeAbandoned(then time.Time) (freed int64, err error) {
	entries, err := os.ReadDir(b.uploads)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || b.open[entry.Name()] || info.ModTime().After(then) {
			continue
		}
		err = os.Remove(filepath.Join(b.uploads, entry.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return freed, err
		}
		freed += info.Size()
	}
	return freed, nil
}

// Hold keeps an image from collection until release is called, also when all
// its names are taken away meanwhile.
func (s *Store) Hold(ctx context.Context, ref string) (release func(), err error) {
	s.collect.RLock()
	defer s.collect.RUnlock()
	img, err := s.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	hold := s.holds.begin()
	err = s.reach(img.Target, func(d ocispec.Descriptor) (bool, error) {
		hold.add(d.Digest)
		return true, nil
	})
	if err != nil {
		hold.release()
		return nil, fmt.Errorf("hold image %s: %w", ref, err)
	}
	return hold.release, nil
}
