package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sampan-cloud/sampan/internal/node/container"
)

// load reads the records. Halves that a crash left are removed: whatever they
// belonged to was never reported to anybody, or was being removed.
func (e *Engine) load() error {
	pods, containers, broken, err := e.records.load()
	if err != nil {
		return err
	}
	for _, rec := range pods {
		if rec.Boot != e.boot {
			rec.State = PodNotReady
		}
		p := &pod{rec: *rec}
		e.pods.byID[rec.ID] = p
		if err := e.pods.reserve(podName(&rec.Config), rec.ID); err != nil {
			return err
		}
	}
	for _, id := range append(broken, strays(podsDir(e.cfg), e.pods)...) {
		e.dropHalf("pod", id, e.dropHalfPod)
	}
	for _, rec := range containers {
		c := newCtr(*rec, e.pods.byID[rec.PodID])
		if rec.State == Exited {
			c.ended()
		}
		e.containers.byID[rec.ID] = c
		if err := e.containers.reserve(containerName(rec.PodID, &rec.Config), rec.ID); err != nil {
			return err
		}
	}
	for _, id := range strays(filesDir(e.cfg), e.containers) {
		e.dropHalf("container", id, e.dropHalfContainer)
	}
	return nil
}

// strays lists the directories in dir that belong to nobody in t.
func strays[T any](dir string, t table[T]) []string {
	entries, _ := os.ReadDir(dir) // made by Open
	var ids []string
	for _, entry := range entries {
		if _, known := t.byID[entry.Name()]; !known {
			ids = append(ids, entry.Name())
		}
	}
	return ids
}

// dropHalf forgets an object that has no whole record.
func (e *Engine) dropHalf(kind, id string, drop func(context.Context, string) error) {
	ctx, cancel := cleanup(context.Background())
	defer cancel()
	err := drop(ctx, id)
	e.log.Info("removed what a crash left of a "+kind, kind, id, "err", err)
}

func (e *Engine) dropHalfPod(ctx context.Context, id string) error {
	if err := e.releasePod(ctx, &Pod{ID: id}); err != nil {
		return err
	}
	return e.records.dropPod(id)
}

func (e *Engine) dropHalfContainer(ctx context.Context, id string) error {
	rec := Container{ID: id}
	views, _ := os.ReadDir(filepath.Join(e.filesOf(id), viewsDir)) // most have none
	for _, v := range views {
		rec.ImageViews = append(rec.ImageViews, viewName(id, v.Name()))
	}
	return e.releaseFiles(ctx, &rec)
}

// reconcile compares the records with what the runtime knows.
func (e *Engine) reconcile(ctx context.Context) error {
	list, err := e.parts.Runtime.List(ctx)
	if err != nil {
		return fmt.Errorf("list what runs: %w", err)
	}
	known := make(map[string]container.Status, len(list))
	for _, st := range list {
		known[st.ID] = st
	}
	for _, c := range e.members(func(*ctr) bool { return true }) {
		st, runs := known[c.rec.ID]
		delete(known, c.rec.ID)
		e.reconcileOne(c, st, runs)
	}
	for _, p := range e.allPods() {
		rec := p.get()
		if rec.State == PodReady && rec.namespacesGone() {
			e.podLost(p)
		}
		if !rec.Pause {
			continue
		}
		st, ok := known[rec.pauseID()]
		delete(known, rec.pauseID())
		if !ok || st.Phase != container.Running {
			e.podLost(p)
		}
	}
	for id := range known {
		e.removeStray(ctx, id)
	}
	for _, p := range e.allPods() {
		if p.rec.Config.AutoRemove { // it never changes
			e.background.Go(func() { e.removeWhenEnded(ctx, p) })
		}
	}
	return nil
}

// sweep gives back what a crash left with the network and the snapshots: what
// no record of ours names. Failing costs space, so it does not stop the engine.
func (e *Engine) sweep(ctx context.Context) {
	if err := os.RemoveAll(filepath.Join(e.cfg.Dir, checkpointsDir)); err != nil {
		e.log.Warn("what was left of a checkpoint stays", "err", err)
	}
	var pods []string
	for _, p := range e.allPods() {
		pods = append(pods, p.rec.ID)
	}
	if err := e.parts.Network.Sweep(ctx, pods); err != nil {
		e.log.Warn("pods that are no more keep their place in the network", "err", err)
	}
	used := map[string]bool{}
	for _, c := range e.members(func(*ctr) bool { return true }) {
		rec := c.get()
		used[rec.ID] = true
		for _, view := range rec.ImageViews {
			used[view] = true
		}
	}
	for _, name := range e.parts.Snapshots.Prepared(ctx) {
		if used[name] {
			continue
		}
		err := e.parts.Snapshots.Remove(ctx, name)
		e.log.Info("removed a filesystem that no container has", "snapshot", name, "err", err)
	}
}

// removeWhenEnded takes over from an API whose connection went with the last
// daemon.
func (e *Engine) removeWhenEnded(ctx context.Context, p *pod) {
	for _, c := range e.members(func(c *ctr) bool { return c.pod == p }) {
		select {
		case <-c.done:
		case <-ctx.Done():
			return // the next engine does it
		}
	}
	if err := e.RemovePod(ctx, p.rec.Config.Owner, p.rec.ID); err != nil {
		e.log.Warn("ended pod not removed", "pod", p.rec.ID, "err", err)
	}
}

// namespacesGone tells whether one of the pod's own namespaces is no longer
// there, as after everything on the node was taken down and started again.
func (p *Pod) namespacesGone() bool {
	for _, path := range []string{p.Attachment.NetNS, p.Namespaces.IPC, p.Namespaces.UTS, p.Namespaces.User} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

func (e *Engine) reconcileOne(c *ctr, st container.Status, known bool) {
	c.mu.Lock()
	rec := &c.rec
	switch {
	case known && st.Phase == container.Running:
		rec.State, rec.Started, rec.PID = Running, st.Started, st.PID
		c.mu.Unlock()
	case known:
		c.mu.Unlock()
		e.exited(container.Exit{Status: st})
	case rec.State == Running || rec.State == Created && rec.Boot != e.boot:
		// The machine was restarted, or the keeper's state is lost.
		rec.State, rec.Code, rec.Reason, rec.Finished, rec.PID = Exited, 255, ReasonUnknown, time.Now(), 0
		rec.Message = "the machine was restarted"
		copied := rec.clone()
		c.mu.Unlock()
		e.save(&copied)
		c.ended()
	default:
		c.mu.Unlock()
	}
}

// removeStray ends a container that the runtime knows and no record does: a
// crash came between its start and its record, or between its end and Delete.
func (e *Engine) removeStray(ctx context.Context, id string) {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	_ = e.parts.Runtime.Signal(ctx, id, sigKill, true) // it may have ended already
	_, err := e.parts.Runtime.Wait(ctx, id)
	if err == nil {
		err = e.parts.Runtime.Delete(ctx, id)
	}
	if err == nil {
		err = e.parts.Snapshots.Remove(ctx, id)
	}
	e.log.Info("removed a container without a record", "container", id, "err", err)
}

func (e *Engine) allPods() []*pod {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*pod, 0, len(e.pods.byID))
	for _, p := range e.pods.byID {
		out = append(out, p)
	}
	return out
}

// save writes a container's record where nobody waits for it: the runtime still
// knows what it says until Delete.
func (e *Engine) save(c *Container) {
	if err := e.records.saveContainer(c); err != nil {
		e.log.Warn("container record not written", "container", c.ID, "err", err)
	}
}
