package launch

import (
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// newRoot is the directory of a template with users where the container's root is
// mounted.
const newRoot = "/root"

// host is what every start needs of the machine, opened once a process.
type host struct {
	mu    sync.Mutex
	bare  *os.File // the template's mount namespace: an empty filesystem
	users *os.File // that for containers with a user namespace: a proc and a sysfs more
	proc  *os.File // the host's /proc, known to be one
}

// shared is filled at the first use. A failure is not remembered: the next
// start tries again.
var shared host

func (h *host) open() (bare, users, proc *os.File, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.proc != nil {
		return h.bare, h.users, h.proc, nil
	}
	if proc, err = os.OpenFile("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, nil, nil, failed("open", "/proc", err)
	}
	if bare, err = newTemplate(); err == nil {
		if users, err = newTemplate(newRoot, "/proc", "/sys"); err != nil {
			_ = bare.Close()
		}
	}
	if err != nil {
		_ = proc.Close()
		return nil, nil, nil, err
	}
	h.bare, h.users, h.proc = bare, users, proc
	return bare, users, proc, nil
}

// newTemplate makes a mount namespace of a read-only tmpfs with these directories,
// and where their names are those of proc and sysfs, these.
func newTemplate(dirs ...string) (*os.File, error) {
	ns, err := aside(func() (int, error) { return isolate(dirs) })
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(ns), "template"), nil
}

func isolate(dirs []string) (ns int, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return -1, failed("unshare", "mount namespace", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return -1, failed("make private", "/", err)
	}
	ns, err = again(func() (int, error) {
		return unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, failed("open", "/proc/thread-self/ns/mnt", err)
	}
	if err := emptyRoot(dirs); err != nil {
		_ = unix.Close(ns)
		return -1, err
	}
	return ns, nil
}

// emptyRoot replaces everything that the thread's mount namespace holds.
func emptyRoot(dirs []string) error {
	fd, err := mountNew("tmpfs", []string{"mode=755", "size=4k"}, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, dir := range dirs {
		if err := unix.Mkdirat(fd, dir[1:], 0o755); err != nil {
			return failed("mkdir", dir, err)
		}
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return failed("make read-only", "template", err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return failed("mount", "template", err)
	}
	if err := unix.Fchdir(fd); err != nil {
		return failed("chdir", "template", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return failed("pivot_root", "template", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return failed("unmount", "the host's root", err)
	}
	// A user namespace may mount these only where it can see one already.
	for dir, fstype := range map[string]string{"/proc": "proc", "/sys": "sysfs"} {
		if !slices.Contains(dirs, dir) {
			continue
		}
		if err := unix.Mount(fstype, dir, fstype, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return failed("mount", dir, err)
		}
	}
	return nil
}
