package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Procs returns the processes of the group and of those below it.
func (g *Group) Procs() ([]int, error) {
	pids, err := treePIDs(g.dir(g.m.primary()))
	if err != nil {
		return nil, fmt.Errorf("processes of cgroup %s: %w", g.Path(), err)
	}
	return pids, nil
}

// treePIDs returns the processes of a directory of groups. Groups that vanish
// meanwhile have none.
func treePIDs(top string) ([]int, error) {
	var all []int
	err := filepath.WalkDir(top, func(dir string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			return nil
		}
		var pids []int
		if err == nil {
			pids, err = readPIDs(dir)
		}
		if dir != top && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)) {
			return filepath.SkipDir
		}
		all = append(all, pids...)
		return err
	})
	slices.Sort(all)
	return slices.Compact(all), err
}

// left returns processes of the group, of the first hierarchy that has any. One
// that is being moved in is not in all of them yet, nor is the group of a start
// that was cut short.
func (g *Group) left() ([]int, error) {
	pids, err := g.Procs()
	for i := 0; i < len(g.m.hierarchies) && len(pids) == 0 && (err == nil || errors.Is(err, fs.ErrNotExist)); i++ {
		if pids, err = treePIDs(g.dir(&g.m.hierarchies[i])); err != nil {
			err = fmt.Errorf("processes of cgroup %s: %w", g.Path(), err)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return pids, err
}

// Signal sends a signal to all processes of the group.
func (g *Group) Signal(sig unix.Signal) error {
	pids, err := g.Procs()
	if err != nil {
		return fmt.Errorf("signal %s: %w", unix.SignalName(sig), err)
	}
	return g.signal(pids, sig)
}

func (g *Group) signal(pids []int, sig unix.Signal) error {
	var errs []error
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			errs = append(errs, fmt.Errorf("signal %s to process %d of cgroup %s: %w", unix.SignalName(sig), pid, g.Path(), err))
		}
	}
	return errors.Join(errs...)
}

// Kill kills all processes of the group, also those that are being started
// meanwhile, and returns when the group has none or ctx ends. A frozen group is
// thawed: the frozen do not die.
func (g *Group) Kill(ctx context.Context) error {
	dying := false
	if h := g.m.unified(); h != nil {
		// The kernel's own, since 5.14. On hybrid machines it reaches only those
		// that are in this hierarchy too; the loop below finds the others.
		err := writeFile(g.dir(h), "cgroup.kill", "1")
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("kill cgroup %s: %w", g.Path(), err)
		}
		dying = err == nil
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		pids, err := g.left()
		if err != nil || len(pids) == 0 {
			return err
		}
		// At first those that the kernel has killed are given a moment to end.
		if !dying {
			if err := g.killEach(); err != nil {
				return err
			}
		}
		dying = false
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill cgroup %s: %d processes do not end: %w", g.Path(), len(pids), ctx.Err())
		case <-time.After(wait):
		}
	}
}

// killEach kills one process after the other. Who is frozen cannot start others
// between the list and the signal.
func (g *Group) killEach() error {
	frozen := g.freeze(true)
	pids, err := g.left()
	if err == nil {
		err = g.signal(pids, unix.SIGKILL)
	}
	if err != nil {
		return errors.Join(err, g.freeze(false))
	}
	if err := g.freeze(false); err != nil && frozen == nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kill cgroup %s: thaw: %w", g.Path(), err)
	}
	return nil
}

// Freeze stops all processes of the group until Thaw, and returns when they
// have stopped.
func (g *Group) Freeze(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		if err := g.freeze(true); err != nil {
			return fmt.Errorf("freeze cgroup %s: %w", g.Path(), err)
		}
		if done, err := g.isFrozen(); err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("freeze cgroup %s: %w", g.Path(), ctx.Err()), g.Thaw())
		case <-time.After(wait):
		}
		if g.m.version != V2 {
			// A v1 group that gets a new process while it freezes may stay at FREEZING
			// for ever; thawing for a moment gets it out of there.
			if state, _ := readFile(g.dir(g.m.find("freezer")), "freezer.state"); state == "FREEZING" && wait >= 16*time.Millisecond {
				if err := g.freeze(false); err != nil {
					return fmt.Errorf("freeze cgroup %s: %w", g.Path(), err)
				}
			}
		}
	}
}

// Thaw lets the group's processes go on.
func (g *Group) Thaw() error {
	if err := g.freeze(false); err != nil {
		return fmt.Errorf("thaw cgroup %s: %w", g.Path(), err)
	}
	return nil
}

func (g *Group) freeze(on bool) error {
	if g.m.version == V2 {
		value := "0"
		if on {
			value = "1"
		}
		return writeFile(g.dir(g.m.primary()), "cgroup.freeze", value)
	}
	value := "THAWED"
	if on {
		value = "FROZEN"
	}
	return writeFile(g.dir(g.m.find("freezer")), "freezer.state", value)
}

func (g *Group) isFrozen() (bool, error) {
	if g.m.version == V2 {
		var frozen uint64
		err := readKeys(g.dir(g.m.primary()), "cgroup.events", func(key string, n uint64) {
			if key == "frozen" {
				frozen = n
			}
		})
		return frozen == 1, err
	}
	state, err := readFile(g.dir(g.m.find("freezer")), "freezer.state")
	switch {
	case err != nil:
		return false, err
	case state == "FROZEN":
		return true, nil
	case state == "FREEZING", state == "THAWED":
		return false, nil
	}
	return false, fmt.Errorf("freezer.state is %q: %w", state, fault.Corrupt)
}
