package launch

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountNew makes a detached mount of a new filesystem. Each option is a word or
// key=value.
func mountNew(fstype string, opts []string, attrs int) (int, error) {
	fs, err := again(func() (int, error) { return unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC) })
	if err != nil {
		return -1, failed("mount", fstype, err)
	}
	defer unix.Close(fs)
	for _, o := range opts {
		if err := configure(fs, o); err != nil {
			return -1, failed("mount", fmt.Sprintf("%s (option %s)", fstype, o), explain(fs, err))
		}
	}
	if _, err := again(func() (int, error) { return 0, unix.FsconfigCreate(fs) }); err != nil {
		return -1, failed("mount", fstype, explain(fs, err))
	}
	fd, err := again(func() (int, error) { return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attrs) })
	if err != nil {
		return -1, failed("mount", fstype, explain(fs, err))
	}
	return fd, nil
}

func configure(fs int, opt string) error {
	key, value, has := strings.Cut(opt, "=")
	_, err := again(func() (int, error) {
		if has {
			return 0, unix.FsconfigSetString(fs, key, value)
		}
		return 0, unix.FsconfigSetFlag(fs, key)
	})
	return err
}

// explain adds what the filesystem wrote into its context, such as "overlay:
// upper fs does not support ...".
func explain(fs int, err error) error {
	buf := make([]byte, 1024)
	n, rerr := unix.Read(fs, buf)
	if rerr != nil || n == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.TrimSpace(strings.TrimPrefix(string(buf[:n]), "e ")))
}

// openTree makes a detached copy of what is mounted at path on the host.
func openTree(path string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := again(func() (int, error) { return unix.OpenTree(unix.AT_FDCWD, path, flags) })
	if err != nil {
		return -1, failed("bind", path, err)
	}
	return fd, nil
}

// attributes changes a detached mount, or all mounts of a detached tree.
func attributes(fd int, path string, recursive bool, attr unix.MountAttr) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	_, err := again(func() (int, error) { return 0, unix.MountSetattr(fd, "", flags, &attr) })
	if err != nil {
		return failed("set mount options of", path, err)
	}
	return nil
}

// isDir tells whether an open file is a directory.
func isDir(fd int) (bool, error) {
	var st unix.Stat_t
	if _, err := again(func() (int, error) { return 0, unix.Fstat(fd, &st) }); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// again repeats a call that a signal has interrupted. Go's own threads get
// signals all the time: it preempts goroutines by them.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
