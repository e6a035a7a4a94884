package peer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// cgroups returns a function that removes these cgroups, which peers make for
// all their containers and leave behind empty. Those that are there already are
// somebody else's and stay.
func cgroups(names ...string) func() error {
	before := find(names)
	return func() error {
		var errs []error
		for _, dir := range find(names) {
			if !slices.Contains(before, dir) {
				errs = append(errs, removeGroups(dir))
			}
		}
		return errors.Join(errs...)
	}
}

// find looks in the hierarchies of either version.
func find(names []string) []string {
	var dirs []string
	for _, name := range names {
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			found, _ := filepath.Glob(pattern + name) // the pattern is right
			dirs = append(dirs, found...)
		}
	}
	return dirs
}

// removeGroups removes a cgroup and those in it, the innermost first. What is
// in their directories goes with them.
func removeGroups(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	errs := []error{err}
	for _, d := range slices.Backward(dirs) {
		errs = append(errs, os.Remove(d))
	}
	return errors.Join(errs...)
}
