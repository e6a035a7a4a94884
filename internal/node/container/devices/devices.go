// Package devices puts the host's devices into container specifications: by
// path, all of them for the privileged, and by CDI name.
//
// A device in a specification is two things: a node in the container's /dev,
// and a rule that lets the container's cgroup use it. What this package adds is
// always both.
package devices

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A Device is one of the host's, as a container shall see it.
type Device struct {
	specs.LinuxDevice
	Source string // where the host has it
	Access string // of "rwm": read, write, make a node
}

// Host finds the device at a path of the host, or all those below it when it is
// a directory. Links are followed. Inside is the path that the container gets;
// empty is the same. Empty access is all access.
func Host(path, inside, access string) ([]Device, error) {
	found, err := host(path, inside, access)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", path, err)
	}
	return found, nil
}

func host(path, inside, access string) ([]Device, error) {
	if strings.Trim(access, "rwm") != "" {
		return nil, fmt.Errorf("permissions %q have other letters than r, w and m: %w", access, fault.Invalid)
	}
	if inside == "" {
		inside = path
	}
	if !filepath.IsAbs(path) || !filepath.IsAbs(inside) {
		return nil, fmt.Errorf("%s is not absolute: %w", map[bool]string{true: inside, false: path}[filepath.IsAbs(path)], fault.Invalid)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fault.NotFound
		}
		return nil, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		d, ok, err := stat(real)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("it is no device: %w", fault.Invalid)
		}
		d.Path, d.Access = filepath.Clean(inside), access
		return []Device{d}, nil
	}
	found, err := walk(real, filepath.Clean(inside))
	for i := range found {
		found[i].Access = access
	}
	return found, err
}

// All finds the devices that a privileged container gets.
func All() ([]Device, error) {
	found, err := walk("/dev", "/dev")
	if err != nil {
		return nil, fmt.Errorf("devices of the host: %w", err)
	}
	return found, nil
}

// walk finds the devices below a directory. What a container has of its own is
// left out, and so are links: they lead to devices that are found as well.
func walk(top, inside string) ([]Device, error) {
	var found []Device
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // unplugged meanwhile
		}
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path == top {
				return nil
			}
			switch entry.Name() {
			case "pts", "shm", "fd", "mqueue", ".udev", ".lxc", ".lxd-mounts":
				return filepath.SkipDir
			}
			return nil
		}
		if entry.Name() == "console" {
			return nil
		}
		d, ok, err := stat(path)
		if err != nil || !ok {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		d.Path = filepath.Join(inside, rel)
		found = append(found, d)
		return nil
	})
	return found, err
}

// stat describes the device at a path. ok is false where there is another kind
// of file, or none any more.
func stat(path string) (d Device, ok bool, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		if err == unix.ENOENT {
			return d, false, nil
		}
		return d, false, fmt.Errorf("stat %s: %w", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		d.Type = "b"
	case unix.S_IFCHR:
		d.Type = "c"
	default:
		return d, false, nil
	}
	mode := os.FileMode(st.Mode & 0o7777)
	d.Major, d.Minor = int64(unix.Major(uint64(st.Rdev))), int64(unix.Minor(uint64(st.Rdev)))
	d.Source, d.FileMode, d.UID, d.GID = path, &mode, &st.Uid, &st.Gid
	return d, true, nil
}

// Add gives devices to a container: nodes and rules. A path that the
// specification has already is replaced.
func Add(spec *specs.Spec, devices ...Device) {
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	if spec.Linux.Resources == nil {
		spec.Linux.Resources = &specs.LinuxResources{}
	}
	at := map[string]int{}
	for i, d := range spec.Linux.Devices {
		at[filepath.Clean(d.Path)] = i
	}
	for _, d := range devices {
		if i, ok := at[d.Path]; ok {
			spec.Linux.Devices[i] = d.LinuxDevice
		} else {
			at[d.Path] = len(spec.Linux.Devices)
			spec.Linux.Devices = append(spec.Linux.Devices, d.LinuxDevice)
		}
		spec.Linux.Resources.Devices = append(spec.Linux.Resources.Devices, d.Rule())
	}
}

// Rule lets a cgroup use the device.
func (d *Device) Rule() specs.LinuxDeviceCgroup {
	access := d.Access
	if access == "" {
		access = "rwm"
	}
	return specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &d.Major, Minor: &d.Minor, Access: access}
}
