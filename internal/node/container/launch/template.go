package launch

import (
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// newRoot is the one directory in the template, where the container's root is
// mounted.
const newRoot = "/root"

// host is what every start needs of the machine, opened once a process.
type host struct {
	mu       sync.Mutex
	template *os.File // the template's mount namespace
	proc     *os.File // the host's /proc, known to be one
}

// shared is filled at the first use. A failure is not remembered: the next
// start tries again.
var shared host

func (h *host) open() (template, proc *os.File, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.template != nil {
		return h.template, h.proc, nil
	}
	proc, err = os.OpenFile("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, failed("open", "/proc", err)
	}
	template, err = newTemplate()
	if err != nil {
		_ = proc.Close()
		return nil, nil, err
	}
	h.template, h.proc = template, proc
	return template, proc, nil
}

// newTemplate makes a mount namespace of one read-only tmpfs with an empty
// directory in it.
func newTemplate() (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	made := make(chan result)
	go func() {
		// The thread's root and namespace change: never unlocked, it ends with
		// this goroutine.
		runtime.LockOSThread()
		f, err := isolate()
		made <- result{f, err}
	}()
	r := <-made
	return r.f, r.err
}

func isolate() (ns *os.File, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return nil, failed("unshare", "mount namespace", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, failed("make private", "/", err)
	}
	ns, err = os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return nil, failed("open", "/proc/thread-self/ns/mnt", err)
	}
	defer func() {
		if err != nil {
			_ = ns.Close()
		}
	}()
	fd, err := mountNew("tmpfs", []string{"mode=755", "size=4k"}, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Mkdirat(fd, newRoot[1:], 0o755); err != nil {
		return nil, failed("mkdir", newRoot, err)
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return nil, failed("make read-only", "template", err)
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, failed("mount", "template", err)
	}
	if err := unix.Fchdir(fd); err != nil {
		return nil, failed("chdir", "template", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return nil, failed("pivot_root", "template", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return nil, failed("unmount", "the host's root", err)
	}
	return ns, nil
}
