package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A hierarchy is one tree of groups.
type hierarchy struct {
	name        string // its directory below the root; empty on v2
	dir         string
	unified     bool
	controllers []string
}

func (h *hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }

// Controllers that v1 machines may have. Some share a hierarchy, then the
// other names are links.
var v1Controllers = [...]string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc"}

// Controllers that containers cannot do without.
var (
	needV1 = [...]string{"cpu", "memory", "devices", "freezer", "pids"}
	needV2 = [...]string{"cpu", "memory", "pids"}
)

// detect finds the hierarchies below m.root.
func (m *Manager) detect() error {
	if text, err := os.ReadFile(filepath.Join(m.root, "cgroup.controllers")); err == nil {
		m.version = V2
		m.hierarchies = []hierarchy{{dir: m.root, unified: true, controllers: strings.Fields(string(text))}}
		return m.require(needV2[:])
	}
	m.version = V1
	byDir := map[string]int{}
	for _, c := range v1Controllers {
		// On most machines cpu is a link to cpu,cpuacct.
		dir, err := filepath.EvalSymlinks(filepath.Join(m.root, c))
		if err != nil || !exists(filepath.Join(dir, "tasks")) {
			continue
		}
		if i, ok := byDir[dir]; ok {
			m.hierarchies[i].controllers = append(m.hierarchies[i].controllers, c)
			continue
		}
		byDir[dir] = len(m.hierarchies)
		m.hierarchies = append(m.hierarchies, hierarchy{name: filepath.Base(dir), dir: dir, controllers: []string{c}})
	}
	// What stays in systemd's own hierarchy is killed with the daemon's unit.
	if dir := filepath.Join(m.root, "systemd"); exists(filepath.Join(dir, "tasks")) {
		m.hierarchies = append(m.hierarchies, hierarchy{name: "systemd", dir: dir})
	}
	if text, err := os.ReadFile(filepath.Join(m.root, "unified", "cgroup.controllers")); err == nil {
		m.version = Hybrid
		m.hierarchies = append(m.hierarchies, hierarchy{name: "unified", dir: filepath.Join(m.root, "unified"), unified: true, controllers: strings.Fields(string(text))})
	}
	return m.require(needV1[:])
}

// require fails unless all the controllers are there.
func (m *Manager) require(controllers []string) error {
	var missing []string
	for _, c := range controllers {
		if m.find(c) == nil {
			missing = append(missing, c)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("containers need the controllers %s, which this machine does not offer (mounted? enabled on the kernel's command line?): %w",
		strings.Join(missing, ", "), fault.Unsupported)
}

// find returns the hierarchy that a controller limits in, or nil. The v2 side
// of a hybrid machine limits nothing.
func (m *Manager) find(controller string) *hierarchy {
	for i := range m.hierarchies {
		h := &m.hierarchies[i]
		if h.has(controller) && (!h.unified || m.version == V2) {
			return h
		}
	}
	return nil
}

// primary is the hierarchy that is asked which processes a group has.
func (m *Manager) primary() *hierarchy {
	if h := m.find("pids"); h != nil {
		return h
	}
	return &m.hierarchies[0]
}

// unified returns the v2 hierarchy, or nil.
func (m *Manager) unified() *hierarchy {
	for i := range m.hierarchies {
		if m.hierarchies[i].unified {
			return &m.hierarchies[i]
		}
	}
	return nil
}

// make makes a group in the hierarchy, with the parents that are missing. What
// it makes is added to made.
func (h *hierarchy) make(ctx context.Context, m *Manager, rel string, made *[]string) error {
	dir := filepath.Join(h.dir, rel)
	if m.version == V2 {
		if err := h.enable(m, filepath.Dir(rel), made); err != nil {
			return err
		}
	}
	err := m.mkdir(dir)
	// More than one try: a parent may be pruned while we come.
	for range 10 {
		if !errors.Is(err, unix.ENOENT) {
			break
		}
		if err := h.makeParent(m, filepath.Dir(rel), made); err != nil {
			return err
		}
		err = m.mkdir(dir)
	}
	if errors.Is(err, unix.EEXIST) {
		err = h.replace(m, dir)
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	*made = append(*made, dir)
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.inheritCpuset(m, dir)
}

// makeParent makes a group for others to be in, unless it is there.
func (h *hierarchy) makeParent(m *Manager, rel string, made *[]string) error {
	// Whoever finds a parent must not find it without processors.
	m.parents.Lock()
	defer m.parents.Unlock()
	dir := h.dir
	for part := range strings.SplitSeq(rel, "/") {
		dir = filepath.Join(dir, part)
		err := m.mkdir(dir)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
		*made = append(*made, dir)
		if err := h.copyCpuset(dir); err != nil {
			return err
		}
		if err := h.cloneCpuset(dir); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the parents of a group that are empty. It is for the v2 side of
// hybrid machines, where groups limit nothing and the kubelet, which makes the
// parents of pods, does not remove them.
func (h *hierarchy) prune(m *Manager, rel string) {
	m.parents.Lock()
	defer m.parents.Unlock()
	for parent := filepath.Dir(rel); parent != "."; parent = filepath.Dir(parent) {
		if unix.Rmdir(filepath.Join(h.dir, parent)) != nil {
			return
		}
	}
}

// replace makes a group anew that is already there.
func (h *hierarchy) replace(m *Manager, dir string) error {
	if pids, err := readPIDs(dir); err != nil {
		return err
	} else if len(pids) > 0 {
		return fmt.Errorf("it has %d processes: %w", len(pids), fault.Exists)
	}
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		// It has groups of its own below it, or a process came.
		return fmt.Errorf("it is in use: %w", fault.Exists)
	}
	return m.mkdir(dir)
}

// inheritCpuset gives a new v1 group its parent's processors and memory nodes: it
// has none, and no process may join it so. The kernel has done it if the parent
// is one that makeParent made.
func (h *hierarchy) inheritCpuset(m *Manager, dir string) error {
	if !h.has("cpuset") || h.unified {
		return nil
	}
	if mems, err := readFile(dir, "cpuset.mems"); err != nil || mems != "" {
		return err
	}
	// The last that a new parent gets.
	if mems, err := readFile(filepath.Dir(dir), "cpuset.mems"); err != nil {
		return err
	} else if mems == "" {
		// Somebody is making the parent right now.
		m.parents.Lock()
		defer m.parents.Unlock()
	}
	return h.copyCpuset(dir)
}

// cloneCpuset has the kernel copy a group's processors and memory nodes to those
// that are made in it: each write of ours would compare all its children.
func (h *hierarchy) cloneCpuset(dir string) error {
	if !h.has("cpuset") || h.unified {
		return nil
	}
	if err := writeFile(dir, "cgroup.clone_children", "1"); err != nil && err != unix.ENOENT {
		return fmt.Errorf("write 1 to %s: %w", filepath.Join(dir, "cgroup.clone_children"), err)
	}
	return nil
}

func (h *hierarchy) copyCpuset(dir string) error {
	if !h.has("cpuset") || h.unified {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := readFile(filepath.Dir(dir), file)
		if err != nil {
			return err
		}
		if err := writeFile(dir, file, value); err != nil {
			return fmt.Errorf("write %q to %s: %w", value, filepath.Join(dir, file), err)
		}
	}
	return nil
}

// enable switches all controllers on for the children of a v2 group, which it
// makes where it is missing.
func (h *hierarchy) enable(m *Manager, rel string, made *[]string) error {
	dir := filepath.Join(h.dir, rel)
	text, err := readFile(dir, "cgroup.subtree_control")
	if errors.Is(err, unix.ENOENT) && rel != "." {
		if err := h.makeParent(m, rel, made); err != nil {
			return err
		}
		text, err = readFile(dir, "cgroup.subtree_control")
	}
	if err != nil {
		return err
	}
	on := strings.Fields(text)
	var missing []string
	for _, c := range h.controllers {
		if !slices.Contains(on, c) {
			missing = append(missing, "+"+c)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if rel != "." {
		// A group can only hand on what it was given.
		if err := h.enable(m, filepath.Dir(rel), made); err != nil {
			return err
		}
	}
	if err := writeFile(dir, "cgroup.subtree_control", strings.Join(missing, " ")); err != nil {
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("%s has processes of its own and can therefore not limit groups below it: %w", dir, fault.Precondition)
		}
		return fmt.Errorf("enable %s in %s: %w", strings.Join(missing, " "), dir, err)
	}
	return nil
}
