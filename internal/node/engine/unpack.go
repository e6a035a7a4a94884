package engine

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sampan-cloud/sampan/internal/base/fault"
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

// layersAtOnce is how many layers of an image are unpacked at the same time:
// decompressing one keeps a core busy, and writing it half of another.
const layersAtOnce = 3

// unpackLayers begins with the lowest layer, and with each next one as soon as
// the one below it has begun. No layer is committed before those below it.
func (e *Engine) unpackLayers(ctx context.Context, img image.Image, progress func(image.Progress)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(layersAtOnce)
	failed := make([]error, len(img.Layers))
	parent := ""
	for i, layer := range img.Layers {
		key, on, begun := layer.ChainID.String(), parent, make(chan struct{})
		group.Go(func() error {
			begin := sync.OnceFunc(func() { close(begun) })
			defer begin()
			err := e.parts.Snapshots.CommitAhead(ctx, key, on, func(ctx context.Context, dir string, below func(context.Context) ([]string, error)) error {
				begin()
				say(progress, image.Progress{Digest: layer.Digest, Step: "unpack", Total: layer.Size})
				return e.parts.Images.UnpackAhead(ctx, layer, dir, below)
			})
			if err != nil {
				failed[i] = fmt.Errorf("layer %d of %d: %w", i+1, len(img.Layers), err)
				return failed[i]
			}
			say(progress, image.Progress{Digest: layer.Digest, Step: "done", Done: layer.Size, Total: layer.Size})
			return nil
		})
		<-begun
		parent = key
	}
	err := group.Wait()
	// The cause is the lowest layer that did not fail because of another.
	for _, one := range failed {
		if one != nil && fault.Of(one) != fault.Canceled {
			return one
		}
	}
	return err
}

func say(progress func(image.Progress), p image.Progress) {
	if progress != nil {
		progress(p)
	}
}
