package image

import (
	"crypto/rand"
	_ "crypto/sha512" // digests may ask for it
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A Writer is one upload on its way to being a blob. What is written stays, also
// over a restart, until Commit or Cancel; Close only lets go of it, and Resume
// goes on where it was. It is used by one goroutine at a time.
type Writer struct {
	blobs  *Blobs
	id     string
	file   *os.File
	hash   hash.Hash // of everything written, SHA-256
	offset int64
	until  time.Duration // added to the blob's time, see Blobs
}

// uploadID is what may become a file name.
var uploadID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{0,200}$`)

// Create starts an upload.
func (b *Blobs) Create() (*Writer, error) { return b.create(b.keep) }

func (b *Blobs) create(keep time.Duration) (*Writer, error) {
	return b.write("up-"+rand.Text(), os.O_CREATE|os.O_EXCL, keep)
}

// Resume opens the upload again that a Writer with this ID began.
func (b *Blobs) Resume(id string) (*Writer, error) {
	return b.write(id, 0, b.keep)
}

func (b *Blobs) write(id string, flag int, keep time.Duration) (*Writer, error) {
	if !uploadID.MatchString(id) {
		return nil, fmt.Errorf("upload %q: a bad name: %w", id, fault.Invalid)
	}
	b.mu.Lock()
	taken := b.open[id]
	b.open[id] = true
	b.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("upload %s is being written by another request: %w", id, fault.Precondition)
	}
	w := &Writer{blobs: b, id: id, hash: digest.SHA256.Hash(), until: keep}
	if err := w.open(flag); err != nil {
		w.release()
		return nil, err
	}
	return w, nil
}

// open opens the file and takes into the hash what it holds already.
func (w *Writer) open(flag int) error {
	f, err := os.OpenFile(w.path(), os.O_RDWR|flag, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("upload %s: %w", w.id, fault.NotFound)
	}
	if err != nil {
		return diskError(w.blobs.uploads, fmt.Errorf("upload %s: %w", w.id, err))
	}
	if w.offset, err = io.Copy(w.hash, f); err != nil {
		f.Close()
		return fmt.Errorf("upload %s: %w", w.id, err)
	}
	w.file = f
	return nil
}

func (w *Writer) path() string { return filepath.Join(w.blobs.uploads, w.id) }

// ID names the upload for Resume.
func (w *Writer) ID() string { return w.id }

// Offset is how many bytes are written.
func (w *Writer) Offset() int64 { return w.offset }

// Write appends.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.offset += int64(n)
	if err != nil {
		return n, diskError(w.blobs.uploads, err)
	}
	return n, nil
}

// Digest is the digest of everything written.
func (w *Writer) Digest() digest.Digest {
	return digest.NewDigest(digest.SHA256, w.hash)
}

// Commit makes the upload a blob, after checking that it is what expected says,
// and ends the Writer. When it is something else, the upload is gone.
func (w *Writer) Commit(expected digest.Digest) error {
	path, err := w.blobs.path(expected)
	if err != nil {
		return err
	}
	got, err := w.sum(expected.Algorithm())
	if err != nil {
		return errors.Join(err, w.Close())
	}
	if got != expected {
		err := fmt.Errorf("%d bytes have digest %s, not %s: %w", w.offset, got, expected, fault.Corrupt)
		return errors.Join(err, w.Cancel())
	}
	if err := w.settle(path); err != nil {
		err = diskError(w.blobs.dir, fmt.Errorf("commit blob %s: %w", expected, err))
		return errors.Join(err, w.Cancel())
	}
	w.release()
	return nil
}

// sum returns the digest of the content by the given algorithm.
func (w *Writer) sum(algorithm digest.Algorithm) (digest.Digest, error) {
	if algorithm == digest.SHA256 {
		return w.Digest(), nil
	}
	if _, err := w.file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return algorithm.FromReader(w.file)
}

// settle syncs the file and moves it to path, in this order: a name in the blob
// directory promises content that a power cut cannot take.
func (w *Writer) settle(path string) error {
	shard := filepath.Dir(path)
	for _, dir := range []string{filepath.Dir(shard), shard} {
		if err := w.blobs.makeDir(dir); err != nil {
			return err
		}
	}
	if err := w.blobs.disk.SyncFile(w.file); err != nil {
		return err
	}
	until := time.Now().Add(w.until)
	if old, err := os.Stat(path); err == nil && old.ModTime().After(until) {
		until = old.ModTime() // somebody else wants it longer
	}
	if err := os.Chtimes(w.path(), until, until); err != nil {
		return err
	}
	if err := os.Chmod(w.path(), 0o400); err != nil {
		return err
	}
	if err := w.file.Close(); err != nil {
		return err
	}
	if err := w.blobs.disk.Rename(w.path(), path); err != nil {
		return err
	}
	return w.blobs.disk.SyncDir(shard)
}

// Cancel deletes the upload and ends the Writer.
func (w *Writer) Cancel() error {
	defer w.release()
	w.file.Close()
	if err := w.blobs.disk.Remove(w.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cancel upload %s: %w", w.id, err)
	}
	return nil
}

// Close ends the Writer and keeps the upload for Resume.
func (w *Writer) Close() error {
	defer w.release()
	return w.file.Close()
}

// release lets others resume the upload.
func (w *Writer) release() {
	w.blobs.mu.Lock()
	delete(w.blobs.open, w.id)
	w.blobs.mu.Unlock()
}
