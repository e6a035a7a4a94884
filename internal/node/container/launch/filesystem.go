package launch

import (
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// filesystem mounts and makes everything below the container's root.
func (l *launcher) filesystem(req Request, io *stdio) error {
	spec := req.Spec
	l.call("umask", "", unix.SYS_UMASK, 0)
	var readonly []string // made so once everything in them is there
	for _, m := range withDefaults(spec.Mounts) {
		late, err := l.mount(m, req, io)
		if err != nil {
			return err
		}
		if late {
			readonly = append(readonly, m.Destination)
		}
	}
	if err := l.devices(spec, io); err != nil {
		return err
	}
	l.mkdirAll(spec.Process.Cwd)
	for _, p := range readonly {
		l.readonly(p, false)
	}
	for _, p := range spec.Linux.ReadonlyPaths {
		l.readonlyPath(p)
	}
	l.maskPaths(spec.Linux.MaskedPaths)
	if spec.Root != nil && spec.Root.Readonly {
		l.readonly("/", false)
	}
	return nil
}

// withDefaults adds what a /dev of the container's own is not complete without.
func withDefaults(mounts []specs.Mount) []specs.Mount {
	given := map[string]specs.Mount{}
	for _, m := range mounts {
		given[path.Clean(m.Destination)] = m
	}
	if given["/dev"].Type != "tmpfs" {
		return mounts
	}
	out := append([]specs.Mount(nil), mounts...)
	for _, m := range []specs.Mount{
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue",
			Options: []string{"nosuid", "noexec", "nodev"}},
	} {
		if _, ok := given[m.Destination]; !ok {
			out = append(out, m)
		}
	}
	return out
}

// openHow is how every mount point is looked up. A magic link, as in
// /proc/self/fd, is the one thing that leads out of the root.
func (l *launcher) openHow(resolve uint64) uintptr {
	return put(l.table, unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve})
}

// slot is an argument of a call.
type slot struct {
	*entry
	arg int
}

// target opens the mount point p, making it when it is missing, and hands its
// descriptor to the arguments that use returns. It must not be a symbolic link when
// strict.
func (l *launcher) target(p string, dir, strict bool, use func() []slot) {
	p = path.Clean("/" + p)
	resolve := uint64(unix.RESOLVE_NO_MAGICLINKS)
	if strict {
		resolve |= unix.RESOLVE_NO_SYMLINKS
	}
	how := l.openHow(resolve)
	name := l.str(p)
	first := l.call("open mount point", p, unix.SYS_OPENAT2, at, name, how, unix.SizeofOpenHow).except(unix.ENOENT)
	l.make(p, dir, first)
	second := l.call("open mount point", p, unix.SYS_OPENAT2, at, name, how, unix.SizeofOpenHow).ifFailed(first)
	for _, e := range use() {
		first.feeds(e.entry, e.arg)
		second.feeds(e.entry, e.arg)
	}
}

// make creates p and the directories above it, if the call missing has failed.
// Each is made in its opened parent, so that a link cannot lead it astray.
func (l *launcher) make(p string, dir bool, missing *entry) {
	how := l.openHow(unix.RESOLVE_NO_MAGICLINKS)
	parent := "/"
	names := strings.Split(strings.Trim(p, "/"), "/")
	for i, name := range names {
		whole := path.Join(parent, name)
		open := l.call("open", parent, unix.SYS_OPENAT2, at, l.str(parent), how, unix.SizeofOpenHow).ifFailed(missing)
		var create *entry
		if dir || i < len(names)-1 {
			create = l.call("mkdir", whole, unix.SYS_MKDIRAT, 0, l.str(name), 0o755)
		} else {
			create = l.call("create", whole, unix.SYS_MKNODAT, 0, l.str(name), unix.S_IFREG|0o644, 0)
		}
		create.ifFailed(missing).except(unix.EEXIST)
		done := l.call("close", parent, unix.SYS_CLOSE, 0).ifFailed(missing)
		open.feeds(create, 0).feeds(done, 0)
		parent = whole
	}
}

// mkdirAll makes a directory that is missing.
func (l *launcher) mkdirAll(p string) {
	if p == "" || p == "/" {
		return
	}
	l.target(p, true, false, func() []slot {
		return []slot{{l.call("close", p, unix.SYS_CLOSE, 0), 0}}
	})
}

// readonly makes the mount at p read-only and leaves its other options.
func (l *launcher) readonly(p string, deep bool) *entry {
	var flags uintptr
	if deep {
		flags = unix.AT_RECURSIVE
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	return l.call("make read-only", p, unix.SYS_MOUNT_SETATTR, at, l.str(p), flags, put(l.table, attr), unix.MOUNT_ATTR_SIZE_VER0)
}

// readonlyPath mounts p over itself, read-only. It need not exist.
func (l *launcher) readonlyPath(p string) {
	s := l.str(p)
	l.call("make read-only", p, unix.SYS_MOUNT, s, s, 0, unix.MS_BIND|unix.MS_REC, 0).except(unix.ENOENT)
	l.readonly(p, false).except(unix.ENOENT)
}

// maskPaths hides files behind /dev/null and directories behind an empty tmpfs.
// They need not exist, but /dev/null must: without it nothing would be hidden.
func (l *launcher) maskPaths(paths []string) {
	if len(paths) == 0 {
		return
	}
	null := l.str("/dev/null")
	probe := l.call("mask paths with", "/dev/null", unix.SYS_OPENAT2, at, null,
		l.openHow(unix.RESOLVE_NO_MAGICLINKS), unix.SizeofOpenHow)
	done := l.call("close", "/dev/null", unix.SYS_CLOSE, 0)
	probe.feeds(done, 0)
	tmpfs, opts := l.str("tmpfs"), l.str("nr_inodes=1")
	for _, p := range paths {
		s := l.str(p)
		file := l.call("mask", p, unix.SYS_MOUNT, null, s, 0, unix.MS_BIND, 0).except(unix.ENOENT, unix.ENOTDIR)
		l.call("mask", p, unix.SYS_MOUNT, tmpfs, s, tmpfs, unix.MS_RDONLY, opts).except(unix.ENOENT, unix.ENOTDIR).ifFailed(file)
	}
}
