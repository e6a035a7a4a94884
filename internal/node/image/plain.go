package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Annotations returns what the manifest of an image says beside its parts.
func (s *Store) Annotations(_ context.Context, img Image) (map[string]string, error) {
	text, err := s.blobs.read(img.Manifest.Digest)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", img.ID, err)
	}
	var manifest struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, fmt.Errorf("image %s: manifest: %w: %w", img.ID, err, fault.Corrupt)
	}
	return manifest.Annotations, nil
}

// OpenLayer reads the tar of a layer, for images that are no filesystem. The
// caller closes it; until then the layer is not collected. Its content is not
// compared with its digest again: the store has done so.
func (s *Store) OpenLayer(_ context.Context, layer Layer) (io.ReadCloser, error) {
	hold := s.holds.begin()
	hold.add(layer.Digest)
	blob, err := s.blobs.Open(layer.Digest)
	if err != nil {
		hold.release()
		return nil, fmt.Errorf("layer %s: %w", layer.Digest, err)
	}
	plain, err := decompress(blob)
	if err != nil {
		blob.Close()
		hold.release()
		return nil, fmt.Errorf("layer %s: %w", layer.Digest, err)
	}
	return &openLayer{plain, blob, hold.release}, nil
}

type openLayer struct {
	io.ReadCloser
	blob    io.Closer
	release func()
}

func (l *openLayer) Close() error {
	defer l.release()
	defer l.blob.Close()
	return l.ReadCloser.Close()
}

// Decompress reads a tar that may be compressed with gzip or zstd.
func Decompress(r io.Reader) (io.ReadCloser, error) { return decompress(r) }

// Apply is Unpack of a tar that is in no store.
func Apply(ctx context.Context, tar io.Reader, dir string, lowers []string) error {
	below := func(context.Context) ([]string, error) { return lowers, nil }
	if err := apply(ctx, tar, dir, below); err != nil {
		return fmt.Errorf("unpack into %s: %w", dir, diskError(dir, err))
	}
	return nil
}
