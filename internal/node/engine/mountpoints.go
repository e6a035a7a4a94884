package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/sampan-cloud/sampan/internal/node/engine/internal/merged"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// Where every container has something mounted. Few images have all of these.
var (
	mountDirs  = []string{"proc", "sys", "dev"}
	mountFiles = []string{"etc/hosts", "etc/hostname", "etc/resolv.conf"}
)

// mountPoints is the key of a layer on top of an image's that has nothing but
// the places where every container has something mounted and the image has none.
// Without it each start would copy /etc into the container's own layer and make
// the files there: four inodes more.
func mountPoints(top string) string { return top + "+mountpoints" }

var errNoneMissing = errors.New("the image has every mount point")

// base makes the image's layers into filesystems and returns the key of what
// containers stand on: the topmost, or the layer of mount points on it.
func (e *Engine) base(ctx context.Context, img image.Image, progress func(image.Progress)) (string, error) {
	top, err := e.unpack(ctx, img, progress)
	if err != nil || top == "" {
		return top, err
	}
	e.mu.Lock()
	whole := e.whole[top]
	e.mu.Unlock()
	if whole {
		return top, nil
	}
	key := mountPoints(top)
	err = e.parts.Snapshots.Commit(ctx, key, top, func(_ context.Context, dir string, lowers []string) error {
		missing, err := merged.FS{Layers: lowers}.MakeMissing(dir, mountDirs, mountFiles)
		if err == nil && !missing {
			err = errNoneMissing
		}
		return err
	})
	switch {
	case errors.Is(err, errNoneMissing):
		e.mu.Lock()
		e.whole[top] = true
		e.mu.Unlock()
		return top, nil
	case err != nil:
		return "", fmt.Errorf("mount points of %s: %w", img.ID, err)
	}
	return key, nil
}
