package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// devices adds the devices asked for, all of the host's when privileged, and
// the rules that let the cgroup use those and no others.
func (b *builder) devices(context.Context) error {
	cfg := &b.rec.Config
	res := b.linuxResources()
	if cfg.Security.Privileged {
		res.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		return b.addDevices(Device{Source: "/dev", Target: "/dev", Permissions: "rwm"}, true)
	}
	res.Devices = append([]specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, usualDevices()...)
	for i, d := range cfg.Devices {
		if err := checkDevice(d); err != nil {
			return fmt.Errorf("devices[%d]: %w", i, err)
		}
		if err := b.addDevices(d, false); err != nil {
			return fmt.Errorf("devices[%d]: %w", i, err)
		}
	}
	return nil
}

// usualDevices are those of every container: null, zero, full, tty, random,
// urandom, ptmx and the terminals of its own devpts; nodes of any other may be
// made, not opened.
func usualDevices() []specs.LinuxDeviceCgroup {
	number := func(n int64) *int64 { return &n }
	rules := []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Access: "m"}, {Allow: true, Type: "b", Access: "m"}}
	for _, d := range [][2]int64{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}} {
		rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: number(d[0]), Minor: number(d[1]), Access: "rwm"})
	}
	return append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: number(136), Access: "rwm"})
}

func checkDevice(d Device) error {
	switch {
	case !filepath.IsAbs(d.Source):
		return fmt.Errorf("host_path %q is not absolute: %w", d.Source, fault.Invalid)
	case !path.IsAbs(d.Target):
		return fmt.Errorf("container_path %q is not absolute: %w", d.Target, fault.Invalid)
	case strings.Trim(d.Permissions, "rwm") != "":
		return fmt.Errorf("permissions %q are not of r, w and m: %w", d.Permissions, fault.Invalid)
	}
	return nil
}

// addDevices adds one device or all below a directory. Devices that go away
// meanwhile are left out where all are wanted.
func (b *builder) addDevices(d Device, all bool) error {
	real, err := filepath.EvalSymlinks(d.Source)
	if err != nil {
		return fmt.Errorf("host_path: %w: %w", fault.Invalid, err)
	}
	found := 0
	err = filepath.WalkDir(real, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			if all || errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if entry.IsDir() {
			// These are mounts of the container's own.
			if all && slices.Contains([]string{"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd"}, p) {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || info.Mode()&fs.ModeDevice == 0 || p == "/dev/ptmx" || p == "/dev/console" {
			return nil
		}
		found++
		rel, err := filepath.Rel(real, p)
		if err != nil {
			return err
		}
		b.addDevice(path.Join(d.Target, rel), info.Mode(), st, d.Permissions, all)
		return nil
	})
	if err != nil {
		return fmt.Errorf("host_path: %w", err)
	}
	if found == 0 && !all {
		return fmt.Errorf("host_path %s is not a device: %w", d.Source, fault.Invalid)
	}
	return nil
}

func (b *builder) addDevice(target string, mode fs.FileMode, st *syscall.Stat_t, access string, allowed bool) {
	kind := "b"
	if mode&fs.ModeCharDevice != 0 {
		kind = "c"
	}
	major, minor := int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	perm := mode.Perm()
	b.spec.Linux.Devices = append(b.spec.Linux.Devices, specs.LinuxDevice{
		Path: target, Type: kind, Major: major, Minor: minor, FileMode: &perm, UID: &st.Uid, GID: &st.Gid,
	})
	if allowed {
		return
	}
	res := b.linuxResources()
	res.Devices = append(res.Devices, specs.LinuxDeviceCgroup{
		Allow: true, Type: kind, Major: &major, Minor: &minor, Access: access,
	})
}

// cdiAnnotation is the older way to ask for a CDI device.
const cdiAnnotation = "cdi.k8s.io/"

// injectDevices lets CDI specifications change what was built: they may add
// devices, mounts, variables and hooks.
func (b *builder) injectDevices() error {
	names := slices.Clone(b.rec.Config.CDI)
	for key, value := range b.rec.Config.Annotations {
		if strings.HasPrefix(key, cdiAnnotation) {
			names = appendNew(names, strings.Split(value, ",")...)
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := b.engine.cdi.Refresh(); err != nil {
		b.engine.log.Warn("some CDI specifications are not readable", "err", err)
	}
	unknown, err := b.engine.cdi.InjectDevices(b.spec, names...)
	if err != nil {
		return fmt.Errorf("CDI_devices: unknown %s: %w: %w", strings.Join(unknown, ", "), fault.Invalid, err)
	}
	return nil
}

// linuxResources returns the resources of the description, which it makes.
func (b *builder) linuxResources() *specs.LinuxResources {
	if b.spec.Linux.Resources == nil {
		b.spec.Linux.Resources = &specs.LinuxResources{}
	}
	return b.spec.Linux.Resources
}

// exists tells whether a path of the host is there.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
