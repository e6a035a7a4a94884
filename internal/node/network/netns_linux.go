package network

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

const threadNetNS = "/proc/thread-self/ns/net"

// home is the network namespace that a Network works in: that of the thread
// which called Open. Sockets opened once in it stay in it; what goes by path
// (sysctls, /proc/net) and new sockets need a thread there.
type home struct{ file *os.File }

func openHome() (home, error) {
	f, err := os.Open(threadNetNS)
	if err != nil {
		return home{}, fmt.Errorf("open own network namespace: %w", err)
	}
	return home{f}, nil
}

func (h home) fd() int { return int(h.file.Fd()) }

// do runs f on a thread that is in the home namespace.
func (h home) do(f func() error) error {
	return onOwnThread(func() error {
		if err := retry(func() error { return unix.Setns(h.fd(), unix.CLONE_NEWNET) }); err != nil {
			return fmt.Errorf("enter the node's network namespace: %w", err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread that ends after it, so that f may leave the
// thread in any namespace. It is never the process's first thread: that one
// cannot end, and /proc/self would show its namespace as the whole process's.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// Holding the first thread sends the next goroutine to another one.
			defer runtime.UnlockOSThread()
			done <- onOwnThread(f)
			return
		}
		done <- f()
	}()
	return <-done
}

// enterNetNS puts the calling thread into the namespace at path, or into a new
// one when path is empty.
func enterNetNS(path string) error {
	if path == "" {
		if err := retry(func() error { return unix.Unshare(unix.CLONE_NEWNET) }); err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer f.Close()
	if err := retry(func() error { return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET) }); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return nil
}

// pin keeps the calling thread's network namespace alive under path.
func pin(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("pin namespace: %w", err)
	}
	f.Close()
	if err := retry(func() error { return unix.Mount(threadNetNS, path, "", unix.MS_BIND, "") }); err != nil {
		os.Remove(path)
		return fmt.Errorf("pin namespace at %s: %w", path, err)
	}
	return nil
}

// unpin lets the namespace at path go. Repeating it is not an error.
func unpin(path string) error {
	for {
		// More than one mount may lie there if NSDir's own mount was copied.
		err := retry(func() error { return unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) })
		if err == unix.EINVAL || err == unix.ENOENT {
			break
		}
		if err != nil {
			return fmt.Errorf("unpin namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("unpin namespace: %w", err)
	}
	return nil
}

// pinned tells whether a namespace is pinned at path.
func pinned(path string) bool {
	var st unix.Statfs_t
	return retry(func() error { return unix.Statfs(path, &st) }) == nil && st.Type == unix.NSFS_MAGIC
}

// pins lists the paths under dir at which namespaces are, or were to be, pinned.
func pins(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var paths []string
	for _, e := range entries {
		if !e.IsDir() { // the one of assignments
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// retry repeats f while a signal interrupts it. The Go runtime preempts with
// signals, and namespaces, mounts and netlink all may return EINTR.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
