package launch

import (
	"fmt"
	"os"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// namespaceFiles are the names in /proc/PID/ns of those that can be made for a
// user namespace before anything runs in it.
var namespaceFiles = map[specs.LinuxNamespaceType]string{
	specs.NetworkNamespace: "net",
	specs.IPCNamespace:     "ipc",
	specs.UTSNamespace:     "uts",
}

// NewOwned makes a user namespace and namespaces of the given kinds that belong
// to it, so that its root rules them. They live as long as the files are open or
// bound somewhere; the caller closes them.
//
// A process of many threads cannot enter a user namespace, so a child makes the
// others. It shares our descriptors: what it opens stays open when it has ended.
func NewOwned(uids, gids []specs.LinuxIDMapping, kinds ...specs.LinuxNamespaceType) (map[specs.LinuxNamespaceType]*os.File, error) {
	users, err := newUserns(uids, gids)
	if err != nil {
		return nil, err
	}
	files := map[specs.LinuxNamespaceType]*os.File{specs.UserNamespace: users.file}
	if err := users.unshare(kinds, files); err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, err
	}
	return files, nil
}

// unshare adds to files new namespaces that belong to u.
func (u *userns) unshare(kinds []specs.LinuxNamespaceType, files map[specs.LinuxNamespaceType]*os.File) error {
	if len(kinds) == 0 {
		return nil
	}
	t, err := newTable(len(kinds)+3, 4096)
	if err != nil {
		return err
	}
	defer t.close()
	var flags uintptr
	for _, kind := range kinds {
		if namespaceFiles[kind] == "" {
			return fmt.Errorf("%s namespace of a user namespace: %w", kind, fault.Unsupported)
		}
		flags |= namespaceFlags[kind]
	}
	t.call("join namespace", "user", unix.SYS_SETNS, u.file.Fd(), unix.CLONE_NEWUSER)
	t.call("unshare", flagNames(flags), unix.SYS_UNSHARE, flags)
	opened := make([]*entry, len(kinds))
	for i, kind := range kinds {
		path := "/proc/self/ns/" + namespaceFiles[kind]
		opened[i] = t.call("open", path, unix.SYS_OPENAT, at, t.str(path), unix.O_RDONLY|unix.O_CLOEXEC)
	}
	t.call("exit", "", unix.SYS_EXIT_GROUP, 0)
	err = t.runToExit(unix.CLONE_FILES)
	for i, e := range opened {
		if e.result >= 0 && e.result != notRun {
			files[kinds[i]] = os.NewFile(uintptr(e.result), namespaceFiles[kinds[i]])
		}
	}
	return err
}

// runToExit runs a table whose last call ends the child, and waits for that.
func (t *table) runToExit(flags uint64) error {
	pidfd := place(t, int32(-1))
	t.hdr.clone = put(t, cloneArgs{
		flags: flags | unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND,
		pidfd: uint64(uintptr(unsafe.Pointer(pidfd))),
	})
	t.hdr.cloneLen = unsafe.Sizeof(cloneArgs{})
	if t.err != nil {
		return t.err
	}
	pid := enter(t.hdr)
	if pid < 0 {
		return failed("clone3", "user namespace", unix.Errno(-pid))
	}
	p := &Process{PID: int(pid), PIDFD: os.NewFile(uintptr(*pidfd), "pidfd")}
	p.reap()
	for i, s := range t.steps[:len(t.steps)-1] {
		switch r := t.entry(i).result; {
		case r == notRun:
			return fmt.Errorf("%s %s: the process was killed before", s.name, s.path)
		case r < 0:
			return failed(s.name, s.path, unix.Errno(-r))
		}
	}
	return nil
}

// owns tells whether the namespace open at fd belongs to u.
func (u *userns) owns(fd int) bool {
	owner, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
	if err != nil {
		return false // an ancestor's, which the kernel does not show
	}
	defer unix.Close(owner)
	var theirs, ours unix.Stat_t
	if unix.Fstat(owner, &theirs) != nil || unix.Fstat(int(u.file.Fd()), &ours) != nil {
		return false
	}
	return theirs.Ino == ours.Ino && theirs.Dev == ours.Dev
}
