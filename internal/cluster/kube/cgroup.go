package kube

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/kubernetes/pkg/kubelet/cm"
)

// cgroupMounts returns where the machine's cgroup hierarchies are mounted: one
// directory with version 2, one per controller with version 1, both in hybrid.
func cgroupMounts() ([]string, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			out = append(out, fields[1])
		}
	}
	return out, lines.Err()
}

// cgroupDir is where the cgroup is that every pod's is in, as the kubelet writes it.
func (c Config) cgroupDir() string {
	name := cm.ParseCgroupfsToCgroupName(c.CgroupRoot)
	if c.SystemdCgroups {
		return name.ToSystemd()
	}
	return name.ToCgroupfs()
}

// makeCgroup makes the cgroup below which the kubelet puts every pod's.
// The kubelet makes the ones below, but wants this one to be there.
func makeCgroup(name string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if err := makeCgroupPath(m, name); err != nil {
			return err
		}
	}
	return nil
}

func makeCgroupPath(mount, name string) error {
	dir := mount
	for elem := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		parent := dir
		dir = filepath.Join(dir, elem)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := inherit(parent, dir); err != nil {
			return err
		}
	}
	return nil
}

// inherit gives dir what its parent has: with version 1 a new cpuset is empty
// and can hold no process, with version 2 a controller must be handed down.
func inherit(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(bytes.TrimSpace(have)) > 0 {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			continue // version 2: empty means the parent's
		}
		value, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o644); err != nil {
			return err
		}
	}
	controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err != nil {
		return nil // version 1
	}
	for c := range strings.FieldsSeq(string(controllers)) {
		// One at a time: a controller that cannot be handed down (realtime
		// processes and cpu, for one) must not keep the others back.
		_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
	return nil
}

// removeCgroup removes the cgroup and those below it, which must be empty of
// processes.
func removeCgroup(name string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		errs = append(errs, removeTree(filepath.Join(m, name)))
	}
	return errors.Join(errs...)
}

// removeTree removes dir with rmdir only: a cgroup's files go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
