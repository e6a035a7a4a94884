package app

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// edgeImage is the name of the image of this version's edge.
func (d *daemon) edgeImage() string { return d.set.Registry.Name + "/sampan/edge:" + d.version }

// importEdge makes the edge's image of its program, which lies beside this one,
// and unpacks it, while Kubernetes starts: the cluster's DNS is the first pod.
func (d *daemon) importEdge(ctx context.Context, ready func()) error {
	ready()
	if _, err := d.images.Get(ctx, d.edgeImage()); err != nil {
		r, w := io.Pipe()
		go func() { w.CloseWithError(tarOf(w, filepath.Join(d.set.programs, "sampan-edge"))) }()
		config := ocispec.Image{Config: ocispec.ImageConfig{Entrypoint: []string{"/sampan-edge"}}}
		if _, err := d.images.AddImage(ctx, d.edgeImage(), config, true, r); err != nil {
			r.CloseWithError(err)
			return err
		}
	}
	img, err := d.images.Get(ctx, d.edgeImage())
	if err != nil {
		return err
	}
	if err := d.engine.PrepareImage(ctx, img); err != nil {
		return err
	}
	close(d.edgeThere)
	<-ctx.Done()
	return nil
}

// tarOf writes a layer with one program at its root.
func tarOf(w io.Writer, program string) error {
	f, err := os.Open(program)
	if err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, dir := range []string{"etc/", "tmp/"} {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch}); err != nil {
			return err
		}
	}
	if err := t.WriteHeader(&tar.Header{Name: filepath.Base(program), Mode: 0o755, Size: fi.Size(), ModTime: epoch}); err != nil {
		return err
	}
	if _, err := io.Copy(t, f); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	return t.Close()
}
