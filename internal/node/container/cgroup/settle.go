package cgroup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Has tells whether a group is there, as far as it limits processes.
func (m *Manager) Has(name string) bool {
	rel, err := clean(name)
	return err == nil && exists(filepath.Join(m.primary().dir, rel))
}

// Settle moves a process into a group without limits, which is made in every
// hierarchy where it is missing. Unlike Create it hands no controller on from the
// parent, which on v2 may still be where the process is.
func (m *Manager) Settle(ctx context.Context, name string, pid int) error {
	rel, err := clean(name)
	if err != nil {
		return err
	}
	for i := range m.hierarchies {
		h := &m.hierarchies[i]
		dir := filepath.Join(h.dir, rel)
		if h.unified {
			err = m.mkdir(dir)
			if errors.Is(err, unix.ENOENT) {
				var made []string
				if err = h.makeParent(m, filepath.Dir(rel), &made); err == nil {
					err = m.mkdir(dir)
				}
			}
		} else if !exists(dir) {
			var made []string
			err = h.make(ctx, m, rel, &made)
		}
		if err == nil || errors.Is(err, unix.EEXIST) {
			err = writeFile(dir, "cgroup.procs", strconv.Itoa(pid))
		}
		if err != nil {
			return fmt.Errorf("settle process %d in cgroup /%s: %w", pid, rel, err)
		}
	}
	return nil
}
