package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Blobs holds content by its digest, in Root/blobs/<algorithm>/<xx>/<hex>. A
// file there is whole and on disk: it is written under Root/uploads and renamed
// only after its digest was checked and its content synced.
//
// The modification time of a blob is when collection may take it although no
// name leads to it. It lies ahead for blobs that came as an upload, because a
// registry's client sends the layers first and the manifest long after.
type Blobs struct {
	dir     string // of the blobs
	uploads string // of what is being written
	keep    time.Duration
	disk    disk
	made    sync.Map // directories whose names are on disk

	mu   sync.Mutex
	open map[string]bool // uploads with a Writer
}

// A Blob is the content of one blob, to be closed by the reader.
type Blob struct {
	io.ReadSeekCloser
	io.ReaderAt
	Size int64
}

// Read and Close choose between the embedded interfaces.
func (b *Blob) Read(p []byte) (int, error) { return b.ReadSeekCloser.Read(p) }

func openBlobs(root string, keep time.Duration, disk disk) (*Blobs, error) {
	b := &Blobs{
		dir:     filepath.Join(root, "blobs"),
		uploads: filepath.Join(root, "uploads"),
		keep:    keep,
		disk:    disk,
		open:    map[string]bool{},
	}
	for _, dir := range []string{b.dir, b.uploads} {
		if err := b.makeDir(dir); err != nil {
			return nil, diskError(root, err)
		}
	}
	return b, nil
}

// path returns where a blob lies. The digest must be valid: it becomes a path.
func (b *Blobs) path(d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("blob %q: %w: %w", d, err, fault.Invalid)
	}
	hex := d.Encoded()
	return filepath.Join(b.dir, d.Algorithm().String(), hex[:2], hex), nil
}

// Open returns a blob's content.
func (b *Blobs) Open(d digest.Digest) (*Blob, error) {
	path, err := b.path(d)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", d, fault.NotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	return &Blob{ReadSeekCloser: f, ReaderAt: f, Size: info.Size()}, nil
}

// Stat returns a blob's size.
func (b *Blobs) Stat(d digest.Digest) (int64, error) {
	path, err := b.path(d)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("blob %s: %w", d, fault.NotFound)
	}
	if err != nil {
		return 0, fmt.Errorf("blob %s: %w", d, err)
	}
	return info.Size(), nil
}

// Keep protects a blob from collection for Config.Keep from now on, as an
// upload does. A registry calls it when it answers that a blob need not be
// sent again.
func (b *Blobs) Keep(d digest.Digest) error {
	path, err := b.path(d)
	if err != nil {
		return err
	}
	until := time.Now().Add(b.keep)
	err = os.Chtimes(path, until, until)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", d, fault.NotFound)
	}
	return err
}

// Delete removes a blob whoever uses it; Store.GC is the safe way. Deleting an
// unknown blob is not an error.
func (b *Blobs) Delete(d digest.Digest) error {
	path, err := b.path(d)
	if err != nil {
		return err
	}
	if err := b.disk.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete blob %s: %w", d, err)
	}
	return nil
}

// walk calls f for each blob.
func (b *Blobs) walk(ctx context.Context, f func(d digest.Digest, info fs.FileInfo) error) error {
	return filepath.WalkDir(b.dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if entry.IsDir() {
			return nil
		}
		algorithm := filepath.Base(filepath.Dir(filepath.Dir(path)))
		d := digest.NewDigestFromEncoded(digest.Algorithm(algorithm), filepath.Base(path))
		if d.Validate() != nil {
			return nil // not ours
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return f(d, info)
	})
}
