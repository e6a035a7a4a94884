package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// CreateContainer makes a container's filesystem and its description. Nothing
// runs before StartContainer. When it fails nothing is left.
func (e *Engine) CreateContainer(ctx context.Context, owner, podID string, cfg ContainerConfig) (Container, error) {
	if err := e.begun(); err != nil {
		return Container{}, err
	}
	p, err := e.findPod(owner, podID)
	if err != nil {
		return Container{}, err
	}
	if cfg.Name == "" {
		return Container{}, fmt.Errorf("container: metadata.name is empty: %w", fault.Invalid)
	}
	pod, err := p.ready()
	if err != nil {
		return Container{}, fmt.Errorf("container %s: %w", cfg.Name, err)
	}
	id := newID()
	img, from, err := e.source(ctx, id, cfg.Image)
	if err != nil {
		return Container{}, fmt.Errorf("container %s: %w", cfg.Name, err)
	}
	rec := Container{
		ID: id, PodID: pod.ID, Boot: e.boot, Config: cfg, State: Created, Created: time.Now(),
		Image:   ImageUsed{ID: img.ID, Ref: imageRef(img, cfg.Image), Name: imageName(img, cfg.Image)},
		LogPath: logPath(&pod.Config, &cfg), Resources: cfg.Resources,
	}
	c := newCtr(rec, p)
	c.op.Lock()
	defer c.op.Unlock()
	name := containerName(pod.ID, &cfg)
	e.mu.Lock()
	err = e.containers.reserve(name, rec.ID)
	e.mu.Unlock()
	if err != nil {
		return Container{}, errors.Join(err, from.drop())
	}
	if c.spec, err = e.makeContainer(ctx, &pod, &rec, img, from); err != nil {
		e.undoContainer(ctx, &rec)
		e.mu.Lock()
		e.containers.release(name, rec.ID)
		e.mu.Unlock()
		return Container{}, fmt.Errorf("container %s: %w", cfg.Name, err)
	}
	c.mu.Lock()
	c.rec = rec
	c.mu.Unlock()
	e.mu.Lock()
	e.containers.byID[rec.ID] = c
	e.mu.Unlock()
	e.tell(EventCreated, p, rec.ID)
	return rec.clone(), nil
}

// makeContainer makes the container's parts, its record last.
func (e *Engine) makeContainer(ctx context.Context, pod *Pod, rec *Container, img image.Image, from *saved) (*container.Spec, error) {
	if err := e.holdCgroup(ctx, pod); err != nil {
		return nil, err
	}
	base, err := e.base(ctx, img, nil)
	if err != nil {
		return nil, err
	}
	var spec container.Spec
	if err := e.gate.do(ctx, makingContainer, func() error {
		root, err := e.parts.Snapshots.Prepare(ctx, rec.ID, base)
		if err != nil {
			return fmt.Errorf("filesystem: %w", err)
		}
		b := builder{
			engine: e, pod: pod, rec: rec, img: img, dir: e.filesOf(rec.ID),
			root: container.Rootfs{Base: root.Base, Lower: root.Lower, Upper: root.Upper, Work: root.Work},
		}
		spec, err = b.build(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	if from != nil {
		if err := e.restoreInto(ctx, from, pod, &spec); err != nil {
			return nil, fmt.Errorf("checkpoint: %w", err)
		}
	}
	if rec.LogPath != "" {
		if err := os.MkdirAll(filepath.Dir(rec.LogPath), 0o755); err != nil {
			return nil, fmt.Errorf("log_path: %w", ofPath(err))
		}
	}
	return &spec, e.records.newContainer(rec, &spec)
}

func (e *Engine) undoContainer(ctx context.Context, rec *Container) {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if err := e.releaseContainer(ctx, rec); err != nil {
		e.log.Warn("a container that could not be made left something behind", "container", rec.ID, "err", err)
	}
}

// releaseContainer gives back what the container has, the record last: it is how
// a later call finds the rest, should this one be cut short.
func (e *Engine) releaseContainer(ctx context.Context, rec *Container) error {
	if err := e.releaseFiles(ctx, rec); err != nil {
		return err
	}
	return e.records.dropContainer(rec)
}

// releaseFiles gives back the container's filesystem and files.
func (e *Engine) releaseFiles(ctx context.Context, rec *Container) error {
	var errs []error
	if len(rec.ImageViews) > 0 { // else nothing is mounted there
		errs = append(errs, unmountBelow(e.filesOf(rec.ID)))
		for _, v := range rec.ImageViews {
			errs = append(errs, e.parts.Snapshots.Remove(ctx, v))
		}
	}
	errs = append(errs, e.parts.Snapshots.Remove(ctx, rec.ID), os.RemoveAll(e.filesOf(rec.ID)))
	return errors.Join(errs...)
}

// imageRef is what the kubelet compares: the name with digest, else the ID.
func imageRef(img image.Image, asked string) string {
	if slices.Contains(img.Digests, asked) {
		return asked
	}
	if len(img.Digests) > 0 {
		return img.Digests[0]
	}
	return img.ID.String()
}

// imageName is how people know the image: the kubelet asks for it by ID.
func imageName(img image.Image, asked string) string {
	if len(img.Names) > 0 && !slices.Contains(img.Names, asked) {
		return img.Names[0]
	}
	return asked
}

const sigKill = int(unix.SIGKILL)
