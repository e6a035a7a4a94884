package launch

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// virtual are filesystems without a source on the host. The child mounts them,
// because what they show and who owns them depends on its namespaces.
var virtual = map[string]bool{
	"proc": true, "sysfs": true, "tmpfs": true, "ramfs": true, "devpts": true, "mqueue": true, "cgroup2": true,
	"securityfs": true, "debugfs": true, "tracefs": true, "bpf": true, "hugetlbfs": true, "configfs": true,
	"binfmt_misc": true, "pstore": true, "efivarfs": true, "fusectl": true,
}

// labelled are the filesystems that take an SELinux label as an option.
var labelled = map[string]bool{"tmpfs": true, "devpts": true, "mqueue": true}

// mount adds one of the specification's mounts. late says that it is to become
// read-only only once what belongs in it is there.
func (l *launcher) mount(m specs.Mount, req Request, io *stdio) (late bool, err error) {
	o := parseOptions(m.Options)
	switch {
	case !path.IsAbs(m.Destination):
		return false, fmt.Errorf("mount %q: destination is not absolute: %w", m.Destination, fault.Invalid)
	case m.Type == "bind" || o.bind:
		return false, l.bind(m, o)
	case m.Type == "cgroup" || m.Type == "cgroup2":
		return false, l.cgroup(m, o, req.CgroupMounts)
	case m.Type == "devpts" && io.devpts != nil:
		l.attach(*io.devpts, m.Destination, true)
		return false, nil
	case l.users != nil && (m.Type == "sysfs" && !l.ownsNetwork() || m.Type == "proc" && !l.ns.has(unix.CLONE_NEWPID)):
		// A user namespace may not make these for a namespace it does not own.
		b := specs.Mount{Destination: m.Destination, Source: "/sys", Options: []string{"rbind", "rslave", "rro"}}
		if m.Type == "proc" {
			b.Source = "/proc"
		}
		return false, l.bind(b, parseOptions(b.Options))
	case l.early[m.Destination] != nil:
		l.early[m.Destination].feeds(l.move(0, m.Destination, true, true), 0)
		return false, nil
	case !virtual[m.Type]:
		return false, l.mountHost(m, o)
	}
	if m.Type == "tmpfs" {
		late = o.flags&unix.MS_RDONLY != 0
		o.flags &^= unix.MS_RDONLY
	}
	data := o.data
	if label := req.Spec.Linux.MountLabel; label != "" && labelled[m.Type] && selinux() {
		data = append(data, fmt.Sprintf("context=%q", label))
	}
	if m.Type == "devpts" && l.users != nil && len(l.users.gids) > 0 {
		data = l.mappedOnly(data)
	}
	l.mountVirtual(m, o, strings.Join(data, ","))
	return late, nil
}

// mountVirtual mounts a new filesystem from within the child.
func (l *launcher) mountVirtual(m specs.Mount, o options, data string) {
	// A link at /proc would let an image choose what masked paths hide, and
	// where the process's own settings are written.
	strict := m.Type == "proc" || m.Type == "sysfs"
	source := m.Source
	if source == "" {
		source = m.Type
	}
	l.target(m.Destination, true, strict, func() []slot {
		enter := l.call("chdir", m.Destination, unix.SYS_FCHDIR, 0)
		var opts uintptr
		if data != "" {
			opts = l.str(data)
		}
		mount := l.call("mount", m.Destination, unix.SYS_MOUNT, l.str(source), l.str("."), l.str(m.Type), o.flags, opts)
		if m.Type == "mqueue" {
			mount.except(unix.ENODEV) // a kernel without POSIX message queues
		}
		return []slot{{enter, 0}, {l.call("close", m.Destination, unix.SYS_CLOSE, 0), 0}}
	})
	if o.propagation != 0 {
		l.call("set propagation of", m.Destination, unix.SYS_MOUNT, 0, l.str(m.Destination), 0, uintptr(o.propagation), 0)
	}
}

// mappedOnly drops gid= when the namespace does not map that group; the kernel
// would refuse it.
func (l *launcher) mappedOnly(data []string) []string {
	var out []string
	for _, d := range data {
		if v, ok := strings.CutPrefix(d, "gid="); ok {
			gid, err := strconv.ParseUint(v, 10, 32)
			if err == nil && !mapped(l.users.gids, uint32(gid)) {
				continue
			}
		}
		out = append(out, d)
	}
	return out
}

func mapped(ids []specs.LinuxIDMapping, id uint32) bool {
	for _, m := range ids {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return true
		}
	}
	return false
}

// mountHost mounts a filesystem whose source is the host's, such as a disk.
func (l *launcher) mountHost(m specs.Mount, o options) error {
	opts := o.data
	if m.Source != "" {
		opts = append([]string{"source=" + m.Source}, opts...)
	}
	for _, f := range []struct {
		ms   uintptr
		name string
	}{{unix.MS_RDONLY, "ro"}, {unix.MS_SYNCHRONOUS, "sync"}, {unix.MS_DIRSYNC, "dirsync"}, {unix.MS_LAZYTIME, "lazytime"}, {unix.MS_MANDLOCK, "mand"}} {
		if o.flags&f.ms != 0 {
			opts = append(opts, f.name)
		}
	}
	fd, err := mountNew(m.Type, opts, int(o.set))
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.Destination, err)
	}
	l.own(fd)
	l.attach(fd, m.Destination, true)
	return nil
}

// mountEarly makes the proc and sysfs of a user namespace while the template is
// still there: the kernel lets it have new ones only where it sees old ones.
func (l *launcher) mountEarly(mounts []specs.Mount) {
	if l.users == nil {
		return
	}
	l.early = map[string]*entry{}
	for _, m := range mounts {
		fresh := m.Type == "proc" && l.ns.has(unix.CLONE_NEWPID) || m.Type == "sysfs" && l.ownsNetwork()
		if !fresh {
			continue
		}
		open := l.call("mount", m.Destination, unix.SYS_FSOPEN, l.str(m.Type), unix.FSOPEN_CLOEXEC)
		create := l.call("mount", m.Destination, unix.SYS_FSCONFIG, 0, unix.FSCONFIG_CMD_CREATE, 0, 0, 0)
		mount := l.call("mount", m.Destination, unix.SYS_FSMOUNT, 0, unix.FSMOUNT_CLOEXEC, uintptr(parseOptions(m.Options).set))
		open.feeds(create, 0).feeds(mount, 0)
		l.early[m.Destination] = mount
	}
}

// ownsNetwork tells whether the container's network namespace belongs to its
// user namespace: only then may it mount a sysfs that shows it.
func (l *launcher) ownsNetwork() bool {
	if l.ns.fresh&unix.CLONE_NEWNET != 0 {
		return true
	}
	return slices.ContainsFunc(l.ns.join, func(j joined) bool {
		return j.flag == unix.CLONE_NEWNET && l.users.owns(j.fd)
	})
}

// attach puts a detached mount at its place in the container.
func (l *launcher) attach(fd int, dest string, dir bool) { l.move(fd, dest, dir, false) }

// move is attach for a mount that another call may make, and whose place must
// not be a link when strict.
func (l *launcher) move(fd int, dest string, dir, strict bool) (move *entry) {
	empty := l.str("")
	l.target(dest, dir, strict, func() []slot {
		move = l.call("mount", dest, unix.SYS_MOVE_MOUNT, uintptr(fd), empty, 0, empty,
			unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		return []slot{{move, 2}, {l.call("close", dest, unix.SYS_CLOSE, 0), 0}}
	})
	return move
}

// bind takes a detached copy of a path of the host. The copy is made here, in
// the host's mount namespace, where it becomes a peer or a slave of what it was
// made from; the child only moves it to its place.
func (l *launcher) bind(m specs.Mount, o options) error {
	fd, err := openTree(m.Source, o.recursive)
	if err != nil {
		return err
	}
	l.own(fd)
	attr := unix.MountAttr{Attr_set: o.set, Attr_clr: o.clear, Propagation: o.propagation}
	if attr.Propagation == 0 {
		attr.Propagation, o.deep = unix.MS_PRIVATE, true
	}
	if o.deep {
		if err := attributes(fd, m.Source, true, unix.MountAttr{Propagation: attr.Propagation}); err != nil {
			return err
		}
		attr.Propagation = 0
	}
	if o.rset|o.rclear != 0 {
		if err := attributes(fd, m.Source, true, unix.MountAttr{Attr_set: o.rset, Attr_clr: o.rclear}); err != nil {
			return err
		}
	}
	if attr != (unix.MountAttr{}) {
		if err := attributes(fd, m.Source, false, attr); err != nil {
			return err
		}
	}
	if err := l.mapBind(fd, m, o); err != nil {
		return err
	}
	dir, err := isDir(fd)
	if err != nil {
		return err
	}
	l.attach(fd, m.Destination, dir)
	return nil
}

// mapBind maps the owners that a bind mount shows.
func (l *launcher) mapBind(fd int, m specs.Mount, o options) error {
	switch {
	case len(m.UIDMappings) > 0:
		users, err := newUserns(m.UIDMappings, m.GIDMappings)
		if err != nil {
			return err
		}
		defer users.close()
		return users.mapMount(fd, m.Source, o.ridmap)
	case o.idmap && l.users == nil:
		return fmt.Errorf("mount %s: idmap without mappings or a user namespace: %w", m.Destination, fault.Invalid)
	case o.idmap:
		return l.users.mapMount(fd, m.Source, o.ridmap)
	}
	return nil
}

// cgroup shows the container its own cgroups.
func (l *launcher) cgroup(m specs.Mount, o options, mounts []CgroupMount) error {
	readonly := []string{"bind", "rprivate", "nosuid", "nodev", "noexec"}
	if o.flags&unix.MS_RDONLY != 0 {
		readonly = append(readonly, "ro")
	}
	if len(mounts) == 1 && mounts[0].Name == "" {
		if l.ns.has(unix.CLONE_NEWCGROUP) {
			l.mountVirtual(specs.Mount{Destination: m.Destination, Type: "cgroup2", Source: "cgroup"}, o, "")
			return nil
		}
		return l.bind(specs.Mount{Destination: m.Destination, Source: mounts[0].Source}, parseOptions(readonly))
	}
	tmpfs := o
	tmpfs.flags &^= unix.MS_RDONLY
	l.mountVirtual(specs.Mount{Destination: m.Destination, Type: "tmpfs", Source: "tmpfs"}, tmpfs, "mode=755")
	for _, c := range mounts {
		b := specs.Mount{Destination: path.Join(m.Destination, c.Name), Source: c.Source}
		if err := l.bind(b, parseOptions(readonly)); err != nil {
			return err
		}
	}
	if o.flags&unix.MS_RDONLY != 0 {
		l.readonly(m.Destination, false)
	}
	return nil
}
