package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/archive"
)

// checkpointsDir is below Config.Dir and holds what is only there while a
// checkpoint is taken: it is swept when the engine begins.
const checkpointsDir = "checkpoints"

// CheckpointContainer writes a running container into an archive at location,
// which is absolute, and lets it run on. The archive appears whole or not at all.
func (e *Engine) CheckpointContainer(ctx context.Context, owner, id, location string) error {
	if err := e.begun(); err != nil {
		return err
	}
	c, err := e.findContainer(owner, id)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(location) {
		return fmt.Errorf("location %q is not absolute: %w", location, fault.Invalid)
	}
	rec := c.get()
	if rec.State != Running {
		return fmt.Errorf("checkpoint container %s: it is %s: %w", rec.ID, rec.State, fault.Precondition)
	}
	if !c.checkpointing.CompareAndSwap(false, true) {
		return fmt.Errorf("checkpoint container %s: another checkpoint of it is under way: %w", rec.ID, fault.Precondition)
	}
	// A dump that has begun goes to its end, also when nobody waits any more.
	done := make(chan error, 1)
	e.background.Go(func() {
		err := e.checkpoint(ctx, c, rec, location)
		c.checkpointing.Store(false) // before the answer: it may lead to the next one
		done <- err
	})
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && !strings.HasPrefix(err.Error(), "checkpoint container") {
		err = fmt.Errorf("checkpoint container %s: %w", rec.ID, err)
	}
	return err
}

func (e *Engine) checkpoint(ctx context.Context, c *ctr, rec Container, location string) error {
	if info, err := os.Stat(location); err == nil && info.IsDir() {
		return fmt.Errorf("location %s is a directory: %w", location, fault.Invalid)
	}
	if _, err := os.Stat(filepath.Dir(location)); err != nil {
		return err // before the container stands still for nothing
	}
	spec, err := e.records.loadSpec(&rec)
	if err != nil {
		return err
	}
	parent := filepath.Join(e.cfg.Dir, checkpointsDir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	work, err := os.MkdirTemp(parent, rec.ID[:12]+"-")
	if err != nil {
		return err
	}
	defer e.dropWork(work)
	also, err := e.alsoCopied(c.pod.get(), rec, work)
	if err != nil {
		return err
	}
	at := time.Now()
	if err := e.parts.Runtime.Checkpoint(ctx, spec, work, also); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // before much is written for nobody
	}
	dir := archive.Dir(work)
	if err := dir.Describe(archive.Config{
		ID: rec.ID, Name: rec.Config.Name, Image: rec.Image.ID.String(), ImageRef: rec.Image.Ref, ImageName: rec.Image.Name,
		Runtime: "sampan", Created: rec.Created, Checkpointed: at,
	}, described(&spec, c.pod.get(), rec), addressOf(c.pod.get())); err != nil {
		return err
	}
	if spec.Root.Upper != "" {
		upper, root := dir.Path(container.CheckpointUpper), spec.Root
		root.Upper = ""
		if err := dir.SaveDiff(ctx, upper, layersOf(root).Layers); err != nil {
			return err
		}
		if err := os.Remove(upper); err != nil {
			return err
		}
	}
	// Also at the top, where the tools of others look for them.
	for _, name := range []string{"dump.log", "stats-dump"} {
		err := os.Rename(dir.Path(filepath.Join(archive.Images, name)), dir.Path(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := writeWhole(ctx, dir, location); err != nil {
		return err
	}
	e.log.Info("checkpoint taken", "pod", rec.PodID, "container", rec.ID, "archive", location, "took", time.Since(at))
	return nil
}

// dropWork removes what a checkpoint was made of. When its keeper died over it,
// CRIU goes on for a moment and makes files meanwhile.
func (e *Engine) dropWork(dir string) {
	var err error
	for range 20 {
		if err = os.RemoveAll(dir); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	e.log.Warn("what was left of a checkpoint stays", "dir", dir, "err", err)
}

// alsoCopied are the directories beside the container's own filesystem whose
// content is the container's: the volumes that its image declares, and /dev/shm.
func (e *Engine) alsoCopied(p Pod, rec Container, work string) (map[string]string, error) {
	also := map[string]string{}
	if shm := filepath.Join(e.podDir(p.ID), shmDir); p.Config.IPC != ModeNode && holdsSomething(shm) {
		also[archive.SharedMem] = shm
	}
	volumes := filepath.Join(e.filesOf(rec.ID), "volumes")
	entries, err := os.ReadDir(volumes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		if err := os.Mkdir(filepath.Join(work, archive.Volumes), 0o700); err != nil {
			return nil, err
		}
	}
	for _, v := range entries {
		also[filepath.Join(archive.Volumes, v.Name()+".tar")] = filepath.Join(volumes, v.Name())
	}
	return also, nil
}

func holdsSomething(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// described is the specification with annotations by which tools for archives
// name the container and its pod, as containerd gives them.
func described(spec *container.Spec, p Pod, rec Container) *specs.Spec {
	s := *spec.OCI
	s.Annotations = map[string]string{
		"io.kubernetes.cri.container-type":    "container",
		"io.kubernetes.cri.container-name":    rec.Config.Name,
		"io.kubernetes.cri.image-name":        rec.Image.Name,
		"io.kubernetes.cri.sandbox-id":        p.ID,
		"io.kubernetes.cri.sandbox-name":      p.Config.Name,
		"io.kubernetes.cri.sandbox-namespace": p.Config.Namespace,
		"io.kubernetes.cri.sandbox-uid":       p.Config.UID,
	}
	for key, value := range spec.OCI.Annotations {
		s.Annotations[key] = value
	}
	return &s
}

func addressOf(p Pod) string {
	if !p.Attachment.Addr.IsValid() {
		return ""
	}
	return p.Attachment.Addr.String()
}

// writeWhole writes an archive for root only: it holds the container's memory.
func writeWhole(ctx context.Context, dir archive.Dir, location string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(location), "."+filepath.Base(location)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(f.Chmod(0o600), dir.WriteTo(ctx, f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), location)
}
