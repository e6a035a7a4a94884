package app

import (
	"context"
	"fmt"
	"os"

	"github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/image/debian"
)

// buildDeb builds an image of Debian packages into this node's store.
func (d *daemon) buildDeb(ctx context.Context, req local.BuildDeb, progress func(local.Progress)) (image.Image, error) {
	built, err := debian.Build(ctx, debian.Options{
		Name: req.Name, Packages: req.Packages, Cache: d.set.data("cache", "debian"),
		Entrypoint: req.Entrypoint, Cmd: req.Command,
		Progress: steps(progress),
	})
	if err != nil {
		return image.Image{}, err
	}
	defer built.Close()
	layer, err := os.Open(built.Layer)
	if err != nil {
		return image.Image{}, err
	}
	defer layer.Close()
	return d.images.AddImage(ctx, req.Name, built.Config, false, layer)
}

// steps tells a build's steps as a pull tells its blobs: each has a line, which
// is done when the next begins.
func steps(progress func(local.Progress)) func(debian.Progress) {
	last := ""
	return func(p debian.Progress) {
		if last != "" && last != p.Step {
			progress(local.Progress{ID: last, Step: "done"})
		}
		last = p.Step
		step := p.Package
		if p.Total > 0 { // packages, not bytes
			step = fmt.Sprintf("%d/%d %s", p.Done, p.Total, p.Package)
		}
		progress(local.Progress{ID: p.Step, Step: step})
	}
}
