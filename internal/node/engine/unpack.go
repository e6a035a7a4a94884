package engine

import (
	"context"
	"fmt"

	"github.com/sampan-cloud/sampan/internal/node/image"
)

// unpack makes the image's layers into filesystems, lowest first, and returns
// the key of the topmost. What is there already is not done again; two callers
// at once do the work once. progress, when set, hears of each layer.
func (e *Engine) unpack(ctx context.Context, img image.Image, progress func(image.Progress)) (string, error) {
	if len(img.Layers) == 0 {
		return "", nil
	}
	top := img.Layers[len(img.Layers)-1].ChainID.String()
	if e.parts.Snapshots.Has(ctx, top) {
		return top, nil
	}
	// The work goes on for the others when this caller hangs up.
	ch := e.unpacks.DoChan(img.ID.String(), func() (any, error) {
		return nil, e.unpackLayers(context.WithoutCancel(ctx), img, progress)
	})
	select {
	case res := <-ch:
		if res.Err != nil {
			return "", fmt.Errorf("unpack %s: %w", img.ID, res.Err)
		}
		return top, nil
	case <-ctx.Done():
		return "", fmt.Errorf("unpack %s: %w", img.ID, ctx.Err())
	}
}

func (e *Engine) unpackLayers(ctx context.Context, img image.Image, progress func(image.Progress)) error {
	parent := ""
	for i, layer := range img.Layers {
		key := layer.ChainID.String()
		say(progress, image.Progress{Digest: layer.Digest, Step: "unpack", Total: layer.Size})
		err := e.parts.Snapshots.Commit(ctx, key, parent, func(ctx context.Context, dir string, lowers []string) error {
			return e.parts.Images.Unpack(ctx, layer, dir, lowers)
		})
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(img.Layers), err)
		}
		say(progress, image.Progress{Digest: layer.Digest, Step: "done", Done: layer.Size, Total: layer.Size})
		parent = key
	}
	return nil
}

func say(progress func(image.Progress), p image.Progress) {
	if progress != nil {
		progress(p)
	}
}
