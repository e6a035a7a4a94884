package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// startingDir has a file for each start under way, whose content is the cgroup
// that it makes: between that and the keeper's own record a killed daemon would
// leave a cgroup that nobody knows.
const startingDir = "starting"

func (r *Runtime) intentFile(id string) string { return filepath.Join(r.cfg.Dir, startingDir, id) }

// intend writes down that a cgroup is about to be made for a container.
func (r *Runtime) intend(id, cgroup string) error {
	if err := os.WriteFile(r.intentFile(id), []byte(cgroup), 0o600); err != nil {
		return fmt.Errorf("write down the start: %w", err)
	}
	return nil
}

// settled forgets it: the keeper knows the container, or its cgroup is gone.
func (r *Runtime) settled(id string) {
	if err := os.Remove(r.intentFile(id)); err != nil && !os.IsNotExist(err) {
		r.log.Warn("a start that is over stays written down", "container", id, "err", err)
	}
}

// clearIntents removes the cgroups of starts that an earlier daemon did not
// finish, and who is in them. What the keeper knows by now did start.
func (r *Runtime) clearIntents(ctx context.Context) error {
	dir := filepath.Join(r.cfg.Dir, startingDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("starts cut short: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("starts cut short: %w", err)
	}
	for _, f := range files {
		if r.unit(f.Name(), false) == nil {
			cgroup, err := os.ReadFile(r.intentFile(f.Name()))
			if err == nil && len(cgroup) > 0 { // killed before it was written, and nothing was made
				err = r.cfg.Cgroups.Clear(ctx, string(cgroup))
			}
			if err != nil {
				r.log.Warn("cgroup left behind", "container", f.Name(), "cgroup", string(cgroup), "err", err)
				continue // next time
			}
		}
		r.settled(f.Name())
	}
	return nil
}
