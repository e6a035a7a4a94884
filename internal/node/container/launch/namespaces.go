package launch

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// namespaces says which ones a container gets: those in fresh are new, those in
// join are entered; all others are the host's.
type namespaces struct {
	fresh uintptr
	join  []joined
	pid   *joined // entered by children only
}

type joined struct {
	flag uintptr
	path string
	fd   int
}

var namespaceFlags = map[specs.LinuxNamespaceType]uintptr{
	specs.MountNamespace:   unix.CLONE_NEWNS,
	specs.NetworkNamespace: unix.CLONE_NEWNET,
	specs.IPCNamespace:     unix.CLONE_NEWIPC,
	specs.UTSNamespace:     unix.CLONE_NEWUTS,
	specs.CgroupNamespace:  unix.CLONE_NEWCGROUP,
	specs.PIDNamespace:     unix.CLONE_NEWPID,
	specs.UserNamespace:    unix.CLONE_NEWUSER,
	specs.TimeNamespace:    unix.CLONE_NEWTIME,
}

// has tells whether the container has a namespace of its own or of its pod's.
func (n *namespaces) has(flag uintptr) bool {
	return n.fresh&flag != 0 || flag == unix.CLONE_NEWPID && n.pid != nil ||
		slices.ContainsFunc(n.join, func(j joined) bool { return j.flag == flag })
}

// openNamespaces opens those to join and makes the user namespace, which has to
// exist before the filesystems that are mapped through it.
func (l *launcher) openNamespaces(spec *specs.Spec) error {
	for _, n := range spec.Linux.Namespaces {
		flag := namespaceFlags[n.Type] // it is there, or the specification was refused
		switch {
		case flag == unix.CLONE_NEWUSER:
			if err := l.openUsers(n.Path, spec.Linux); err != nil {
				return err
			}
		case n.Path == "":
			l.ns.fresh |= flag
		default:
			if err := l.openNamespace(flag, n.Path); err != nil {
				return err
			}
		}
	}
	// A container without a mount namespace of its own would mount on the host.
	l.ns.fresh |= unix.CLONE_NEWNS
	return nil
}

func (l *launcher) openUsers(path string, linux *specs.Linux) (err error) {
	if path == "" {
		l.users, err = newUserns(linux.UIDMappings, linux.GIDMappings)
	} else {
		l.users, err = openUserns(path, linux.UIDMappings, linux.GIDMappings)
	}
	return err
}

func (l *launcher) openNamespace(flag uintptr, path string) error {
	fd, err := again(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return failed("join namespace", path, err)
	}
	l.own(fd)
	j := joined{flag, path, fd}
	if flag == unix.CLONE_NEWPID {
		l.ns.pid = &j
	} else {
		l.ns.join = append(l.ns.join, j)
	}
	return nil
}

// joinCgroups makes the child a member of its cgroups first of all, so that
// everything it does is charged to the container.
func (l *launcher) joinCgroups(files []*os.File) (args cloneArgs, err error) {
	zero := l.str("0")
	for _, f := range files {
		fd := f.Fd()
		dir, err := isDir(int(fd))
		if err != nil {
			return args, fmt.Errorf("cgroup %s: %w", f.Name(), err)
		}
		if dir {
			args.flags |= unix.CLONE_INTO_CGROUP
			args.cgroup = uint64(fd)
			continue
		}
		l.call("join cgroup", f.Name(), unix.SYS_WRITE, fd, zero, 1)
	}
	return args, nil
}

// enterNamespaces takes the child into the namespaces. Joins come first: they
// take the host's privileges, which end with setns into a user namespace.
func (l *launcher) enterNamespaces(args *cloneArgs) (nested *int32) {
	for _, j := range l.ns.join {
		l.call("join namespace", j.path, unix.SYS_SETNS, uintptr(j.fd), j.flag)
	}
	if l.ns.pid != nil {
		l.call("join namespace", l.ns.pid.path, unix.SYS_SETNS, uintptr(l.ns.pid.fd), unix.CLONE_NEWPID)
	}
	template := l.bare
	if l.users != nil {
		template = l.full
	}
	l.call("join template", "", unix.SYS_SETNS, template.Fd(), unix.CLONE_NEWNS)
	switch {
	case l.users != nil:
		l.call("join namespace", "user", unix.SYS_SETNS, l.users.file.Fd(), unix.CLONE_NEWUSER)
		nested = l.nest(args)
		l.call("setgid", "0", unix.SYS_SETRESGID, 0, 0, 0)
		l.call("setuid", "0", unix.SYS_SETRESUID, 0, 0, 0)
	case l.ns.pid != nil:
		nested = l.nest(args)
	case l.ns.fresh&unix.CLONE_NEWPID != 0:
		args.flags |= unix.CLONE_NEWPID
	}
	l.call("unshare", flagNames(l.ns.fresh&^unix.CLONE_NEWPID), unix.SYS_UNSHARE, l.ns.fresh&^unix.CLONE_NEWPID)
	return nested
}

// nests tells whether a child of the child becomes the process.
func (l *launcher) nests() bool { return l.users != nil || l.ns.pid != nil }

// nest makes the rest of the table run in a child of the child. A PID namespace
// is entered by children only, and one that is to belong to a user namespace has
// to be made from within it; both would otherwise happen to the parent's thread.
//
// The task in between shares the parent's descriptors, so that the pidfd of its
// child is the parent's, and the process is made the parent's child.
func (l *launcher) nest(args *cloneArgs) *int32 {
	args.flags |= unix.CLONE_FILES
	pidfd := place(l.table, int32(-1))
	l.inner = place(l.table, cloneArgs{
		flags: unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PARENT | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND,
		pidfd: uint64(uintptr(unsafe.Pointer(pidfd))),
	})
	if l.ns.fresh&unix.CLONE_NEWPID != 0 {
		l.inner.flags |= unix.CLONE_NEWPID
	}
	l.call("clone3", "process", unix.SYS_CLONE3, uintptr(unsafe.Pointer(l.inner)), unsafe.Sizeof(*l.inner))
	l.leaveBehind()
	return pidfd
}

func flagNames(flags uintptr) string {
	var names []string
	for kind, flag := range namespaceFlags {
		if flags&flag != 0 {
			names = append(names, string(kind))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// changeRoot makes the container's root the child's root.
func (l *launcher) changeRoot(root int, spec *specs.Spec) {
	if l.users == nil {
		l.cover(root)
	} else {
		l.pivot(root)
	}
	switch spec.Linux.RootfsPropagation {
	case "shared", "rshared":
		l.call("make shared", "/", unix.SYS_MOUNT, 0, l.str("/"), 0, unix.MS_SHARED, 0)
	case "unbindable", "runbindable":
		l.call("make unbindable", "/", unix.SYS_MOUNT, 0, l.str("/"), 0, unix.MS_UNBINDABLE, 0)
	}
}

// cover mounts the container's root over the template's, as the kernel mounts the
// host's over its own first one. Nothing leads below: ".." ends at the uppermost
// mount of "/", setns enters there, and what is below is an empty filesystem that
// cannot be written to. pivot_root would do the same, but it looks at every thread
// of the machine, which is a quarter of the child's work where a thousand
// containers run, and to unmount the template waits for all processors.
func (l *launcher) cover(root int) {
	dot := l.str(".")
	l.call("mount", "/", unix.SYS_MOVE_MOUNT, uintptr(root), l.str(""), at, l.str("/"), unix.MOVE_MOUNT_F_EMPTY_PATH)
	l.call("chdir", "/", unix.SYS_FCHDIR, uintptr(root))
	l.call("chroot", "/", unix.SYS_CHROOT, dot)
}

// pivot is for a template that is not empty: it has to go.
func (l *launcher) pivot(root int) {
	dir, dot := l.str(newRoot), l.str(".")
	l.call("mount", "/", unix.SYS_MOVE_MOUNT, uintptr(root), l.str(""), at, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
	l.call("chdir", "/", unix.SYS_CHDIR, dir)
	l.call("pivot_root", "/", unix.SYS_PIVOT_ROOT, dot, dot)
	l.call("unmount", "template", unix.SYS_UMOUNT2, dot, unix.MNT_DETACH)
	l.call("chdir", "/", unix.SYS_CHDIR, l.str("/"))
}

// at is AT_FDCWD as a system call's argument: the container's paths are absolute.
const at = ^uintptr(99)
