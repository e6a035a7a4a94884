package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/network"
)

// RunPod makes a pod. When it fails nothing of it is left.
func (e *Engine) RunPod(ctx context.Context, cfg PodConfig) (Pod, error) {
	if err := e.begun(); err != nil {
		return Pod{}, err
	}
	if err := e.checkPod(&cfg); err != nil {
		return Pod{}, err
	}
	p := &pod{rec: Pod{ID: newID(), Boot: e.boot, Config: cfg, State: PodNotReady, Created: time.Now()}}
	p.op.Lock()
	defer p.op.Unlock()
	name := podName(&cfg)
	e.mu.Lock()
	err := e.pods.reserve(name, p.rec.ID)
	e.mu.Unlock()
	if err != nil {
		return Pod{}, err
	}
	rec := p.rec
	if err := e.gate.do(ctx, makingPod, func() error { return e.makePod(ctx, &rec) }); err != nil {
		e.undoPod(ctx, &rec)
		e.mu.Lock()
		e.pods.release(name, rec.ID)
		e.mu.Unlock()
		return Pod{}, fmt.Errorf("pod %s/%s: %w", cfg.Namespace, cfg.Name, err)
	}
	rec.State = PodReady
	p.mu.Lock()
	p.rec = rec
	p.mu.Unlock()
	e.mu.Lock()
	e.pods.byID[rec.ID] = p
	e.mu.Unlock()
	e.tell(EventCreated, p, rec.ID)
	e.tell(EventStarted, p, rec.ID)
	return rec.clone(), nil
}

// makePod makes everything that the pod consists of, the record last: a
// directory without one is cleaned up at the next start.
func (e *Engine) makePod(ctx context.Context, rec *Pod) error {
	dir := e.podDir(rec.ID)
	if err := mountPodDir(dir); err != nil {
		return err
	}
	cfg := &rec.Config
	if cfg.LogDir != "" {
		if err := os.MkdirAll(cfg.LogDir, 0o755); err != nil {
			return fmt.Errorf("log_directory: %w", ofPath(err))
		}
	}
	if err := e.joinPod(ctx, rec); err != nil {
		return err
	}
	if err := e.holdCgroup(ctx, rec); err != nil {
		return err
	}
	if err := writePodFiles(dir, rec); err != nil {
		return err
	}
	if cfg.PID == ModePod {
		if err := e.startPause(ctx, rec); err != nil {
			return fmt.Errorf("shared process namespace: %w", err)
		}
		rec.Pause = true
	}
	rec.State = PodReady
	return e.records.newPod(rec)
}

// joinPod makes the pod's namespaces and joins it to the network. Those come
// first: the network namespace of a pod with users of its own is made with them.
func (e *Engine) joinPod(ctx context.Context, rec *Pod) error {
	cfg := &rec.Config
	networked := cfg.Net == ModePod || cfg.Net == ""
	netSysctls, sysctls := splitSysctls(cfg.Sysctls)
	want := container.NamespaceRequest{
		IPC: cfg.IPC != ModeNode, UTS: cfg.Net != ModeNode, Hostname: cfg.Hostname, Sysctls: sysctls,
		Net: networked && cfg.User != nil,
	}
	want.UIDs, want.GIDs = cfg.User.mappings()
	var err error
	if rec.Namespaces, err = e.parts.Runtime.Namespaces(ctx, rec.ID, want); err != nil {
		return fmt.Errorf("namespaces: %w", err)
	}
	if !networked {
		return nil
	}
	rec.Attachment, err = e.parts.Network.Attach(ctx, network.Pod{
		ID: rec.ID, Namespace: cfg.Namespace, Name: cfg.Name, Ports: cfg.Ports,
		Ingress: cfg.Ingress, Egress: cfg.Egress, Sysctls: netSysctls, NSPath: rec.Namespaces.Net,
	})
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	rec.Namespaces.Net = rec.Attachment.NetNS
	return nil
}

func (e *Engine) undoPod(ctx context.Context, rec *Pod) {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if err := errors.Join(e.releasePod(ctx, rec), e.records.dropPod(rec.ID)); err != nil {
		e.log.Warn("a pod that failed to start left something behind", "pod", rec.ID, "err", err)
	}
}

// releasePod gives back what a pod holds besides its record. Repeating it is not
// an error.
func (e *Engine) releasePod(ctx context.Context, rec *Pod) error {
	var errs []error
	if rec.Pause || rec.Config.PID == ModePod {
		errs = append(errs, e.stopPause(ctx, rec))
	}
	errs = append(errs,
		dropPodDir(e.podDir(rec.ID)),
		e.parts.Runtime.ReleaseNamespaces(ctx, rec.ID),
		e.parts.Network.Detach(ctx, rec.ID))
	if e.parts.Scopes != nil {
		errs = append(errs, e.parts.Scopes.Release(ctx, rec.ID, rec.Cgroup))
	}
	return errors.Join(errs...)
}

// StopPod ends the pod's containers and gives back its network and namespaces.
// Stopping a stopped pod is not an error.
func (e *Engine) StopPod(ctx context.Context, owner, id string) error {
	p, err := e.findPod(owner, id)
	if err != nil {
		return err
	}
	p.op.Lock()
	defer p.op.Unlock()
	return e.stopPod(ctx, p)
}

func (e *Engine) stopPod(ctx context.Context, p *pod) error {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	members := e.members(func(c *ctr) bool { return c.pod == p })
	errs := make(chan error, len(members))
	for _, c := range members {
		go func() { errs <- e.stop(ctx, c, 0) }()
	}
	var failed []error
	for range members {
		failed = append(failed, <-errs)
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("stop pod %s: %w", p.rec.ID, err)
	}
	rec := p.get()
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if err := e.releasePod(ctx, &rec); err != nil {
		return fmt.Errorf("stop pod %s: %w", rec.ID, err)
	}
	e.podLost(p)
	return nil
}

// RemovePod stops a pod and forgets it with its containers. Removing an unknown
// pod is not an error.
func (e *Engine) RemovePod(ctx context.Context, owner, id string) error {
	p, err := e.findPod(owner, id)
	if fault.Of(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	p.op.Lock()
	defer p.op.Unlock()
	e.mu.Lock()
	_, there := e.pods.byID[p.rec.ID]
	e.mu.Unlock()
	if !there {
		return nil // another call has just removed it
	}
	if err := e.stopPod(ctx, p); err != nil {
		return err
	}
	for _, c := range e.members(func(c *ctr) bool { return c.pod == p }) {
		if err := e.remove(ctx, c); err != nil {
			return fmt.Errorf("remove pod %s: %w", p.rec.ID, err)
		}
	}
	if err := e.records.dropPod(p.rec.ID); err != nil {
		return fmt.Errorf("remove pod %s: %w", p.rec.ID, err)
	}
	e.mu.Lock()
	delete(e.pods.byID, p.rec.ID)
	e.pods.release(podName(&p.rec.Config), p.rec.ID)
	e.mu.Unlock()
	e.tell(EventDeleted, p, p.rec.ID)
	return nil
}

// UpdatePod records a pod's new totals. The cgroup that they limit is whoever
// made it's to change.
func (e *Engine) UpdatePod(owner, id string, overhead, resources *Resources) error {
	p, err := e.findPod(owner, id)
	if err != nil {
		return err
	}
	for field, r := range map[string]*Resources{"resources": resources, "overhead": overhead} {
		if r == nil {
			continue
		}
		if err := e.checkResources(r); err != nil {
			return fmt.Errorf("update pod %s: %s: %w", id, field, err)
		}
	}
	p.op.Lock()
	defer p.op.Unlock()
	p.mu.Lock()
	p.rec.Config.Overhead, p.rec.Config.Resources = overhead, resources
	rec := p.rec.clone()
	p.mu.Unlock()
	return e.records.savePod(&rec)
}
