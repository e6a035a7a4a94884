package engine

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// checkPath refuses a path that no kernel looks up, before anything is made: one
// that is too long, or has a part that is.
func checkPath(field, name string) error {
	if len(name) >= unix.PathMax {
		return fmt.Errorf("%s: %d characters are more than a path can have: %w", field, len(name), fault.Invalid)
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > unix.NAME_MAX {
			return fmt.Errorf("%s: a part of %d characters is longer than a file's name can be: %w", field, len(part), fault.Invalid)
		}
	}
	return nil
}

// checkCgroupParent refuses what cannot be the name of a cgroup.
func checkCgroupParent(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return fmt.Errorf("cgroup_parent %q leads upwards: %w", name, fault.Invalid)
		}
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("cgroup_parent %q has characters that no cgroup's name has: %w", name, fault.Invalid)
	}
	return checkPath("cgroup_parent", name)
}

// ofPath gives an error about a path that the request names its kind: that a
// file is in the way, or the path leads round in circles, is the request's
// mistake.
func ofPath(err error) error {
	for _, errno := range []unix.Errno{unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.ENAMETOOLONG} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: %w", fault.Invalid, err)
		}
	}
	return err
}
