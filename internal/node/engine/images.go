package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// PullImage pulls an image and unpacks it, so that a start does not have to.
func (e *Engine) PullImage(ctx context.Context, ref string, opt image.PullOptions) (image.Image, error) {
	before, lookErr := e.parts.Images.Get(ctx, ref)
	img, err := e.parts.Images.Pull(ctx, ref, opt)
	if err != nil {
		return image.Image{}, err
	}
	there := lookErr == nil && before.ID == img.ID
	if err := e.prepare(ctx, img, there, opt.Progress); err != nil {
		return image.Image{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	return img, nil
}

// PrepareImage unpacks an image that came in some other way, from an archive or
// by a push to the registry.
func (e *Engine) PrepareImage(ctx context.Context, img image.Image) error {
	return e.prepare(ctx, img, false, nil)
}

// prepare unpacks an image that has just come in. One with a layer that cannot be
// unpacked, today or ever, is taken away again: it would only be found in the
// list by whoever tries to run it next. So is one for which the disk has no room,
// unless it was there before.
func (e *Engine) prepare(ctx context.Context, img image.Image, there bool, progress func(image.Progress)) error {
	_, err := e.base(ctx, img, progress)
	switch kind := fault.Of(err); {
	case kind == fault.Exhausted && there:
		return fmt.Errorf("%w; the image stays, not unpacked", err)
	case kind == fault.Exhausted:
		err = fmt.Errorf("%w; nothing of the image was kept", err)
	case kind != fault.Invalid && kind != fault.Corrupt:
		return err
	}
	if err := e.RemoveImage(context.WithoutCancel(ctx), img.ID.String()); err != nil {
		e.log.Warn("image that cannot be unpacked not removed", "image", img.ID, "err", err)
	}
	return err
}

// Image finds an image on this node.
func (e *Engine) Image(ctx context.Context, ref string) (image.Image, error) {
	return e.parts.Images.Get(ctx, ref)
}

// Images lists the images on this node.
func (e *Engine) Images(ctx context.Context) ([]image.Image, error) { return e.parts.Images.List(ctx) }

// ImageUsage tells how much room the images' blobs take.
func (e *Engine) ImageUsage(ctx context.Context) (bytes, inodes uint64, err error) {
	return e.parts.Images.Usage(ctx)
}

// RemoveImage takes an image's name away, and with its last name the image. Its
// layers go in the background once no container stands on them. Removing an
// unknown image is not an error.
func (e *Engine) RemoveImage(ctx context.Context, ref string) error {
	err := e.parts.Images.Remove(ctx, ref)
	if fault.Of(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	e.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
		defer cancel()
		if _, err := e.Collect(ctx); err != nil {
			e.log.Warn("unused layers not removed", "err", err)
		}
	})
	return nil
}

// PruneImages removes the images that no container uses and nothing pins.
func (e *Engine) PruneImages(ctx context.Context) error {
	used := map[string]bool{}
	for _, c := range e.list(func(*ctr) bool { return true }) {
		used[c.Image.ID.String()] = true
	}
	list, err := e.parts.Images.List(ctx)
	if err != nil {
		return fmt.Errorf("prune images: %w", err)
	}
	for _, img := range list {
		if img.Pinned || used[img.ID.String()] {
			continue
		}
		if err := e.parts.Images.Remove(ctx, img.ID.String()); err != nil && fault.Of(err) != fault.NotFound {
			return fmt.Errorf("prune images: %w", err)
		}
	}
	return nil
}

// Collect deletes the layers that neither an image nor a container needs.
func (e *Engine) Collect(ctx context.Context) (freed int64, err error) {
	images, err := e.parts.Images.List(ctx)
	if err != nil {
		return 0, fmt.Errorf("collect layers: %w", err)
	}
	keep := map[string]bool{}
	for _, img := range images {
		for _, l := range img.Layers {
			keep[l.ChainID.String()] = true
		}
		if n := len(img.Layers); n > 0 {
			keep[mountPoints(img.Layers[n-1].ChainID.String())] = true
		}
	}
	return e.parts.Snapshots.Collect(ctx, keep)
}
