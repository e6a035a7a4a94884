package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Unpack writes one layer into dir, which is empty, in overlay's own form:
// whiteouts are character devices 0/0, opaque directories carry an xattr. lowers
// are the unpacked layers below it, top first, all of them whole: directories
// that the layer does not describe take their metadata from there, and hard
// links may lead there. The caller syncs dir, and deletes it after an error.
func (s *Store) Unpack(ctx context.Context, layer Layer, dir string, lowers []string) error {
	return s.UnpackAhead(ctx, layer, dir, func(context.Context) ([]string, error) { return lowers, nil })
}

// UnpackAhead is Unpack of a layer while those below it are still being
// unpacked: below waits until they are whole. Most layers describe all that they
// touch, and need them at the end only.
func (s *Store) UnpackAhead(ctx context.Context, layer Layer, dir string, below func(context.Context) ([]string, error)) error {
	if err := s.unpack(ctx, layer, dir, below); err != nil {
		return fmt.Errorf("unpack layer %s: %w", layer.Digest, diskError(dir, err))
	}
	return nil
}

func (s *Store) unpack(ctx context.Context, layer Layer, dir string, below func(context.Context) ([]string, error)) error {
	hold := s.holds.begin()
	defer hold.release()
	hold.add(layer.Digest)
	blob, err := s.blobs.Open(layer.Digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	plain, err := decompress(blob)
	if err != nil {
		return err
	}
	defer plain.Close()
	stream := newHashed(plain)
	defer stream.close()
	if err := apply(ctx, stream, dir, below); err != nil {
		return err
	}
	got, err := stream.sum()
	if err != nil {
		return fmt.Errorf("%w: %w", err, fault.Corrupt)
	}
	if got != layer.DiffID {
		return fmt.Errorf("its content has digest %s, the image's config says %s: %w", got, layer.DiffID, fault.Corrupt)
	}
	return nil
}

// apply writes the entries of a layer's tar into dir.
func apply(ctx context.Context, stream io.Reader, dir string, below func(context.Context) ([]string, error)) error {
	if entries, err := os.ReadDir(dir); err != nil {
		return err
	} else if len(entries) > 0 {
		return fmt.Errorf("directory %s is not empty: %w", dir, fault.Precondition)
	}
	t, err := newTree(dir, func() ([]string, error) { return below(ctx) })
	if err != nil {
		return err
	}
	defer t.close()
	a := &applier{tree: t, files: startFiles()}
	err = a.entries(ctx, tar.NewReader(stream))
	// Whatever happened, the goroutines that write files must be gone.
	if written := a.files.stop(); written != nil {
		err = written // it came first: entries only stops for it
	}
	if err != nil {
		return err
	}
	return t.finish()
}

// entries applies one entry after the other.
func (a *applier) entries(ctx context.Context, r *tar.Reader) error {
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", truncated(err))
		}
		if err := a.entry(hdr, r); err != nil {
			return fmt.Errorf("entry %q: %w", hdr.Name, err)
		}
		if a.files.failed() {
			return nil // stop has the error
		}
	}
}

// truncated gives what reading a tar can run into its kind. Errors of the machine
// keep theirs.
func truncated(err error) error {
	var errno syscall.Errno
	if err == nil || errors.As(err, &errno) || fault.Of(err) != fault.Internal {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends too early, the data was cut off: %w", fault.Corrupt)
	}
	return fmt.Errorf("%w: %w", err, fault.Corrupt)
}
