package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// Checkpoint writes one image that says which container it is of, and an empty
// writable layer.
func (r *Runtime) Checkpoint(_ context.Context, spec container.Spec, dir string, _ map[string]string) error {
	images := filepath.Join(dir, container.CheckpointImages)
	if err := os.Mkdir(images, 0o700); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(images, "pstree.img"), []byte(spec.ID), 0o600),
		os.WriteFile(filepath.Join(dir, container.CheckpointUpper), nil, 0o600))
}

// Annotations are none.
func (s *Images) Annotations(context.Context, image.Image) (map[string]string, error) {
	return nil, nil
}

// OpenLayer fails: there are no layers.
func (s *Images) OpenLayer(_ context.Context, layer image.Layer) (io.ReadCloser, error) {
	return nil, fmt.Errorf("layer %s: %w", layer.Digest, fault.NotFound)
}
