package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/archive"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// checkpointMarks are the annotations by which tools mark an image that holds a
// checkpoint in place of a filesystem.
var checkpointMarks = []string{"org.criu.checkpoint.container.name", "io.kubernetes.cri-o.annotations.checkpoint.name"}

// saved is a checkpoint that a container is made of.
type saved struct{ archive.Dir }

func (e *Engine) savedDir(id string) archive.Dir {
	return archive.Dir(filepath.Join(e.filesOf(id), "checkpoint"))
}

// source finds what the container id is to be made of: an image; or, when ref is
// the path of a checkpoint's archive or the name of an image that holds one, the
// checkpoint and the image that it stands on. The caller drops it.
func (e *Engine) source(ctx context.Context, id, ref string) (image.Image, *saved, error) {
	if filepath.IsAbs(ref) {
		f, err := openRegular(ref)
		if err != nil {
			return image.Image{}, nil, fmt.Errorf("image: %w", err)
		}
		defer f.Close()
		plain, err := image.Decompress(f)
		if err != nil {
			return image.Image{}, nil, fmt.Errorf("checkpoint %s: %w", ref, err)
		}
		defer plain.Close()
		s := &saved{e.savedDir(id)}
		img, err := e.unpackSaved(ctx, s, func() error { return s.Extract(ctx, plain) })
		return img, s, err
	}
	img, err := e.parts.Images.Get(ctx, ref)
	if err != nil {
		return img, nil, fmt.Errorf("image: %w", err)
	}
	marked, err := e.holdsCheckpoint(ctx, img)
	if err != nil || !marked {
		return img, nil, err
	}
	if !e.cfg.RestoreImages {
		return img, nil, fmt.Errorf("image %s holds a checkpoint, which decides over the rights of the processes in it; "+
			"engine.restoreImages allows it: %w", ref, fault.Precondition)
	}
	s := &saved{e.savedDir(id)}
	base, err := e.unpackSaved(ctx, s, func() error {
		for _, l := range img.Layers {
			if err := e.extractLayer(ctx, s, l); err != nil {
				return err
			}
		}
		return nil
	})
	return base, s, err
}

// openRegular opens a file that ends, and does not wait for one.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no regular file: %w", path, fault.Invalid), err, f.Close())
	}
	return f, nil
}

// holdsCheckpoint asks the manifest only of images that have nothing to run.
func (e *Engine) holdsCheckpoint(ctx context.Context, img image.Image) (bool, error) {
	if len(img.Layers) == 0 || len(img.Config.Config.Entrypoint)+len(img.Config.Config.Cmd) > 0 {
		return false, nil
	}
	notes, err := e.parts.Images.Annotations(ctx, img)
	if err != nil {
		return false, err
	}
	for _, mark := range checkpointMarks {
		if notes[mark] != "" {
			return true, nil
		}
	}
	return false, nil
}

func (e *Engine) extractLayer(ctx context.Context, s *saved, l image.Layer) error {
	r, err := e.parts.Images.OpenLayer(ctx, l)
	if err != nil {
		return err
	}
	defer r.Close()
	return s.Extract(ctx, r)
}

// unpackSaved extracts a checkpoint and finds the image that it stands on.
func (e *Engine) unpackSaved(ctx context.Context, s *saved, extract func() error) (image.Image, error) {
	err := os.MkdirAll(string(s.Dir), 0o700)
	if err == nil {
		err = extract()
	}
	var cfg archive.Config
	if err == nil {
		cfg, err = s.Config()
	}
	var base image.Image
	if err == nil {
		base, err = e.baseOf(ctx, cfg)
	}
	if err != nil {
		return base, fmt.Errorf("checkpoint: %w", errors.Join(err, s.drop()))
	}
	return base, nil
}

// baseOf finds the image of a checkpointed container, or pulls it.
func (e *Engine) baseOf(ctx context.Context, cfg archive.Config) (image.Image, error) {
	names := []string{cfg.Image, cfg.ImageRef, cfg.ImageName}
	for _, name := range names {
		if name == "" {
			continue
		}
		if img, err := e.parts.Images.Get(ctx, name); err == nil {
			return img, nil
		}
	}
	for _, name := range names {
		if strings.Contains(name, "/") {
			return e.PullImage(ctx, name, image.PullOptions{})
		}
	}
	return image.Image{}, fmt.Errorf("the image of the checkpointed container (%s) is not here: %w", cfg.ImageName, fault.NotFound)
}

// restoreInto gives a container that is being made what the checkpointed one had
// written, and has its start restore the processes.
func (e *Engine) restoreInto(ctx context.Context, s *saved, pod *Pod, spec *container.Spec) error {
	then, err := s.Spec()
	if err != nil {
		return err
	}
	if err := container.Fits(then, *spec); err != nil {
		return err
	}
	if err := s.fill(ctx, spec.Root); err != nil {
		return err
	}
	volumes, err := os.ReadDir(s.Path(archive.Volumes))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, v := range volumes {
		dir := filepath.Join(e.filesOf(spec.ID), "volumes", strings.TrimSuffix(v.Name(), ".tar"))
		if err := replace(ctx, s.Path(filepath.Join(archive.Volumes, v.Name())), dir); err != nil {
			return fmt.Errorf("volume: %w", err)
		}
	}
	if err := s.fillShared(ctx, filepath.Join(e.podDir(pod.ID), shmDir)); err != nil {
		return fmt.Errorf("/dev/shm: %w", err)
	}
	spec.Restore = &container.Restore{
		Images: s.Path(archive.Images),
		// Somewhere else nobody would answer.
		KeepTCP: s.Address() != "" && s.Address() == addressOf(*pod),
	}
	return nil
}

// fill writes the difference to the image into a container's writable layer.
func (s *saved) fill(ctx context.Context, root container.Rootfs) error {
	diff, err := s.Diff()
	if err != nil {
		return err
	}
	defer diff.Close()
	layers := layersOf(root).Layers
	if root.Upper == "" {
		return fmt.Errorf("the container's filesystem is read-only: %w", fault.Precondition)
	}
	return image.Apply(ctx, diff, layers[0], layers[1:])
}

// fillShared fills the pod's /dev/shm, which all of its containers share.
func (s *saved) fillShared(ctx context.Context, dir string) error {
	f, err := os.Open(s.Path(archive.SharedMem))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return image.Apply(ctx, f, dir, nil)
}

// replace makes a tar the content of a volume that the container has.
func replace(ctx context.Context, from, dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
		return err
	}
	return image.Apply(ctx, f, dir, nil)
}

// drop removes it with all that there is of a container that is not made yet.
func (s *saved) drop() error {
	if s == nil {
		return nil
	}
	return os.RemoveAll(filepath.Dir(string(s.Dir)))
}
