package engine

import (
	"context"
	"fmt"
	"path/filepath"
)

// cgroupPath is where a container of the pod lives.
func (e *Engine) cgroupPath(p *Pod, id string) string {
	if p.Cgroup != "" {
		return filepath.Join(p.Cgroup, id)
	}
	return filepath.Join("/", e.cgroupParent(p), id)
}

func (e *Engine) cgroupParent(p *Pod) string {
	if parent := p.Config.CgroupParent; parent != "" {
		return parent
	}
	return e.cfg.CgroupParent
}

// holdCgroup makes the pod's own cgroup where it has one, or sees that it is there.
func (e *Engine) holdCgroup(ctx context.Context, p *Pod) (err error) {
	if e.parts.Scopes == nil {
		return nil
	}
	if p.Cgroup, err = e.parts.Scopes.Hold(ctx, e.cgroupParent(p), p.ID); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}

// SystemdCgroups tells whether systemd knows of pods' cgroups.
func (e *Engine) SystemdCgroups() bool { return e.parts.Scopes != nil }
