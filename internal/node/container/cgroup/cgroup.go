// Package cgroup makes, limits, measures and removes the cgroups of containers,
// on cgroup v1, hybrid and v2 machines.
//
// A group is a path below the hierarchies' roots, the same in each of them: on
// v1 every controller has a hierarchy, on v2 there is one for all, and hybrid
// is v1 with a v2 hierarchy beside it that limits nothing but can kill.
// Creating a group is on the path of every container start, so this package
// writes only what differs from what a new group has.
//
// Nothing outside the path of a group is ever written to, with one exception
// that the kernel asks for: on v2 a group's controllers are switched on in its
// parent. Parents that are missing are made, and stay until they are deleted as
// groups themselves.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Config holds the settings of a Manager.
type Config struct {
	Root string // where the hierarchies are mounted; empty is /sys/fs/cgroup
}

// DefaultRoot is where Linux machines mount their cgroup hierarchies.
const DefaultRoot = "/sys/fs/cgroup"

// Version says how a machine's hierarchies are laid out.
type Version string

// The versions.
const (
	V1     Version = "v1"
	Hybrid Version = "hybrid"
	V2     Version = "v2"
)

// Manager makes groups. It is safe for use by many goroutines at once, for one
// goroutine at a time on each path.
type Manager struct {
	root        string
	version     Version
	hierarchies []hierarchy
	parents     sync.Mutex             // held while a missing parent is made
	mkdir       func(dir string) error // tests put control files into what they make
	devices     func(dir string, rules []rule) error
}

// New looks at the machine's hierarchies. Without those that containers need it
// fails and says which are missing.
func New(cfg Config) (*Manager, error) {
	root := cfg.Root
	if root == "" {
		root = DefaultRoot
	}
	m := &Manager{
		root:    root,
		mkdir:   func(dir string) error { return unix.Mkdir(dir, 0o755) },
		devices: attachDevices,
	}
	if err := m.detect(); err != nil {
		return nil, fmt.Errorf("cgroups in %s: %w", root, err)
	}
	return m, nil
}

// Version tells which layout the machine has.
func (m *Manager) Version() Version { return m.version }

// Limits tells whether the machine limits by a controller.
func (m *Manager) Limits(controller string) bool { return m.find(controller) != nil }

// A Group is one cgroup, in all hierarchies.
type Group struct {
	m    *Manager
	path string // relative to the hierarchies' roots
}

// Path names the group below the hierarchies' roots.
func (g *Group) Path() string { return "/" + g.path }

// Create makes a group with limits. A group without processes that is in the
// way, as a crash leaves it, is replaced; one with processes is fault.Exists.
// A failure leaves nothing behind.
func (m *Manager) Create(ctx context.Context, name string, res *specs.LinuxResources) (_ *Group, err error) {
	rel, err := clean(name)
	if err != nil {
		return nil, err
	}
	g := &Group{m: m, path: rel}
	plan, err := m.plan(res)
	if err != nil {
		return nil, fmt.Errorf("create cgroup %s: %w", g.Path(), err)
	}
	var made []string // what a failure takes away again, outermost first
	defer func() {
		if err == nil {
			return
		}
		err = fmt.Errorf("create cgroup %s: %w", g.Path(), err)
		for i := len(made) - 1; i >= 0; i-- {
			if rerr := unix.Rmdir(made[i]); rerr != nil && rerr != unix.ENOENT {
				err = errors.Join(err, fmt.Errorf("remove %s: %w", made[i], rerr))
			}
		}
	}()
	for i := range m.hierarchies {
		if err := m.hierarchies[i].make(ctx, m, rel, &made); err != nil {
			return nil, err
		}
	}
	if err := g.apply(plan, true); err != nil {
		return nil, err
	}
	return g, nil
}

// Open finds a group that exists, as after a restart.
func (m *Manager) Open(name string) (*Group, error) {
	rel, err := clean(name)
	if err != nil {
		return nil, err
	}
	g := &Group{m: m, path: rel}
	if _, err := os.Stat(g.dir(m.primary())); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fault.NotFound
		}
		return nil, fmt.Errorf("open cgroup %s: %w", g.Path(), err)
	}
	return g, nil
}

// Remove deletes a group of which a crash may have left only a part.
func (m *Manager) Remove(ctx context.Context, name string) error {
	rel, err := clean(name)
	if err != nil {
		return err
	}
	return (&Group{m: m, path: rel}).Delete(ctx)
}

// Clear is Remove for a group that may still have processes, which it kills.
func (m *Manager) Clear(ctx context.Context, name string) error {
	rel, err := clean(name)
	if err != nil {
		return err
	}
	g := &Group{m: m, path: rel}
	if err := g.Kill(ctx); err != nil {
		return err
	}
	return g.Delete(ctx)
}

// Update changes the limits that res sets and leaves the others.
func (g *Group) Update(res *specs.LinuxResources) error {
	plan, err := g.m.plan(res)
	if err == nil {
		err = g.fits(res)
	}
	if err == nil {
		err = g.apply(plan, false)
	}
	if err != nil {
		return fmt.Errorf("update cgroup %s: %w", g.Path(), err)
	}
	return nil
}

// fits refuses a limit of memory below what is in use, where res asks for that.
// v1 does so by itself; v2 would reclaim, and then kill.
func (g *Group) fits(res *specs.LinuxResources) error {
	if g.m.version != V2 || res == nil || res.Memory == nil || res.Memory.Limit == nil || *res.Memory.Limit <= 0 ||
		res.Memory.CheckBeforeUpdate == nil || !*res.Memory.CheckBeforeUpdate {
		return nil
	}
	used, err := readUint(g.dir(g.m.primary()), "memory.current")
	if err != nil {
		return err
	}
	if limit := uint64(*res.Memory.Limit); used > limit {
		return fmt.Errorf("memory.limit: %d is less than the %d bytes in use: %w", limit, used, fault.Precondition)
	}
	return nil
}

// Delete removes the group and the empty groups that a container may have made
// below it. Processes that are just ending are waited for, within ctx and two
// seconds. Deleting what is not there is not an error.
func (g *Group) Delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var errs []error
	for i := range g.m.hierarchies {
		h := &g.m.hierarchies[i]
		if err := removeTree(ctx, g.dir(h)); err != nil {
			errs = append(errs, err)
		} else if h.unified && g.m.version == Hybrid {
			h.prune(g.m, g.path)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete cgroup %s: %w", g.Path(), err)
	}
	return nil
}

// removeTree removes a directory of groups from the leaves up.
func removeTree(ctx context.Context, dir string) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := ignoringEINTR(func() error { return unix.Rmdir(dir) })
		switch err {
		case nil, unix.ENOENT:
			return nil
		case unix.EBUSY, unix.ENOTEMPTY:
		default:
			return fmt.Errorf("remove %s: %w", dir, err)
		}
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() {
				if err := removeTree(ctx, filepath.Join(dir, e.Name())); err != nil {
					return err
				}
			}
		}
		if unix.Rmdir(dir) == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove %s: it still has processes: %w", dir, ctx.Err())
		case <-time.After(wait):
		}
	}
}

// Join opens what a process needs to become a member. On v1 and hybrid these
// are the tasks files of all hierarchies, into each of which the process writes
// "0": unlike a pid or cgroup.procs that does not make the kernel wait for all
// processors. On v2 it is the group's directory for CLONE_INTO_CGROUP. The
// caller closes them.
func (g *Group) Join() (_ []*os.File, err error) {
	if g.m.version == V2 {
		dir, err := g.Directory()
		return []*os.File{dir}, err
	}
	var files []*os.File
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	for i := range g.m.hierarchies {
		h := &g.m.hierarchies[i]
		if h.unified {
			continue
		}
		f, err := openFile(filepath.Join(g.dir(h), "tasks"), unix.O_WRONLY)
		if err != nil {
			return nil, fmt.Errorf("join cgroup %s: %w", g.Path(), err)
		}
		files = append(files, f)
	}
	return files, nil
}

// Directory opens the group's directory in the v2 hierarchy, for
// CLONE_INTO_CGROUP. Hybrid machines have one too: a process should be started
// into it as well, so that Kill is one write. On v1 it returns nil and no error.
func (g *Group) Directory() (*os.File, error) {
	for i := range g.m.hierarchies {
		if h := &g.m.hierarchies[i]; h.unified {
			f, err := openFile(g.dir(h), unix.O_DIRECTORY|unix.O_PATH)
			if err != nil {
				return nil, fmt.Errorf("join cgroup %s: %w", g.Path(), err)
			}
			return f, nil
		}
	}
	return nil, nil
}

// Mounts tells which directory of the host is the group, by the name that its
// hierarchy has below /sys/fs/cgroup. On v2 the only name is empty.
func (g *Group) Mounts() map[string]string {
	mounts := map[string]string{}
	for i := range g.m.hierarchies {
		h := &g.m.hierarchies[i]
		mounts[h.name] = g.dir(h)
	}
	return mounts
}

// Shown is Mounts for the container itself: without the v2 side of a hybrid
// machine. It limits nothing, and programs that find it believe that limits are
// files of v2; OCI runtimes do not show it either.
func (g *Group) Shown() map[string]string {
	mounts := g.Mounts()
	if g.m.version == Hybrid {
		delete(mounts, g.m.unified().name)
	}
	return mounts
}

func (g *Group) dir(h *hierarchy) string { return filepath.Join(h.dir, g.path) }

// clean checks a group's path and makes it relative.
func clean(name string) (string, error) {
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("cgroup path %q: it leads out of the hierarchy: %w", name, fault.Invalid)
		}
	}
	if rel == "" {
		return "", fmt.Errorf("cgroup path %q: the root belongs to the machine: %w", name, fault.Invalid)
	}
	if strings.ContainsAny(rel, "\n\x00") {
		return "", fmt.Errorf("cgroup path %q: %w", name, fault.Invalid)
	}
	return rel, nil
}
