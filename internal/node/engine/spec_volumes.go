package engine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// volumes gives each volume that the image declares a directory of its own,
// with what the image has there, unless the request mounts something. It lives
// as long as the container.
func (b *builder) volumes(context.Context) error {
	image := b.image()
	for i, target := range slices.Sorted(maps.Keys(b.img.Config.Config.Volumes)) {
		at := path.Join("/", target)
		asked := slices.ContainsFunc(b.rec.Config.Mounts, func(m Mount) bool { return path.Clean(m.Target) == at })
		if asked || at == "/" {
			continue
		}
		dir := filepath.Join(b.dir, "volumes", fmt.Sprint(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("the image's volume %s: %w", at, err)
		}
		if err := image.CopyDir(at, dir); err != nil {
			return fmt.Errorf("the image's volume %s: %w", at, err)
		}
		options := []string{"rbind", "rprivate", "rw"}
		if b.pod.Config.User != nil {
			options = append(options, "idmap") // it has the owners that the image says
		}
		b.bind(dir, at, options...)
	}
	return nil
}
