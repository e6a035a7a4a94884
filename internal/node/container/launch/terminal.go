package launch

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// stdio is what becomes the child's descriptors 0 to 2.
type stdio struct {
	fds      [3]uintptr
	terminal bool
	devpts   *int // the terminal's filesystem, to be mounted by the child
}

// stdio gets the container's input and output ready.
func (l *launcher) stdio(terminal bool, spec *specs.Spec, files ...*os.File) (*stdio, *os.File, error) {
	if !terminal {
		io, err := l.pipes(spec.Process.User, files...)
		return io, nil, err
	}
	opts := []string{"newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}
	attrs := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC)
	for _, m := range spec.Mounts {
		if m.Type == "devpts" {
			o := parseOptions(m.Options)
			opts, attrs = o.data, o.set
		}
	}
	if l.users != nil {
		opts = l.hostIDs(opts)
	}
	devpts, err := mountNew("devpts", opts, int(attrs))
	if err != nil {
		return nil, nil, err
	}
	l.own(devpts)
	ptmx, err := again(func() (int, error) {
		return unix.Openat(devpts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, nil, failed("open", "/dev/pts/ptmx", err)
	}
	io, master, err := l.terminal(ptmx, spec.Process)
	if err == nil {
		io.devpts = &devpts
	}
	return io, master, err
}

// hostIDs turns the owners in mount options into the host's: the terminal's
// filesystem is made outside the user namespace.
func (l *launcher) hostIDs(opts []string) []string {
	var out []string
	for _, o := range opts {
		var n uint32
		switch {
		case strings.HasPrefix(o, "uid="):
			_, _ = fmt.Sscanf(o, "uid=%d", &n)
			o = fmt.Sprintf("uid=%d", hostID(l.users.uids, n))
		case strings.HasPrefix(o, "gid="):
			_, _ = fmt.Sscanf(o, "gid=%d", &n)
			o = fmt.Sprintf("gid=%d", hostID(l.users.gids, n))
		}
		out = append(out, o)
	}
	return out
}

// terminal opens the process's end of the terminal whose other end is ptmx,
// which it takes over.
func (l *launcher) terminal(ptmx int, process *specs.Process) (io *stdio, master *os.File, err error) {
	// os.NewFile hands a non-blocking descriptor to the poller, so that closing
	// the file ends a read of it.
	if err := unix.SetNonblock(ptmx, true); err != nil {
		_ = unix.Close(ptmx)
		return nil, nil, failed("open", "terminal", err)
	}
	master = os.NewFile(uintptr(ptmx), "terminal")
	defer func() {
		if err != nil {
			_ = master.Close()
		}
	}()
	if err := unix.IoctlSetPointerInt(ptmx, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, failed("unlock", "terminal", err)
	}
	slave, err := peer(ptmx)
	if err != nil {
		return nil, nil, failed("open", "terminal", err)
	}
	fd := l.own(slave)
	if s := process.ConsoleSize; s != nil && s.Height > 0 && s.Width > 0 {
		size := &unix.Winsize{Row: uint16(s.Height), Col: uint16(s.Width)}
		if err := unix.IoctlSetWinsize(ptmx, unix.TIOCSWINSZ, size); err != nil {
			return nil, nil, failed("resize", "terminal", err)
		}
	}
	if err := l.give(fd, process.User); err != nil {
		return nil, nil, failed("chown", "terminal", err)
	}
	return &stdio{fds: [3]uintptr{fd, fd, fd}, terminal: true}, master, nil
}

// give makes the process's user the owner of a pipe or a terminal. Otherwise it
// could not reopen it as /dev/stdout, which images do for their logs.
func (l *launcher) give(fd uintptr, user specs.User) error {
	uid := user.UID
	if l.users != nil {
		uid = hostID(l.users.uids, uid)
	}
	if uid == 0 {
		return nil
	}
	_, err := again(func() (int, error) { return 0, unix.Fchown(int(fd), int(uid), -1) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS) {
		return nil // a socket, or a file of somebody else's
	}
	return err
}

// peer opens the other end of a terminal without going through a path, which a
// container could have mounted over.
func peer(ptmx int) (int, error) {
	for {
		fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(ptmx), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

// pipes takes the caller's files. They are moved off the descriptors 0 to 2,
// which the child is about to overwrite.
func (l *launcher) pipes(user specs.User, files ...*os.File) (*stdio, error) {
	io := &stdio{}
	for i, f := range files {
		if f == nil {
			null, err := again(func() (int, error) { return unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0) })
			if err != nil {
				return nil, failed("open", "/dev/null", err)
			}
			io.fds[i] = l.own(null)
			continue
		}
		// Fd also makes the file blocking, as programs expect of their input
		// and output.
		fd := f.Fd()
		var st unix.Stat_t
		if err := unix.Fstat(int(fd), &st); err != nil {
			return nil, failed("stat", f.Name(), err)
		}
		kind := st.Mode & unix.S_IFMT
		if kind == unix.S_IFIFO || kind == unix.S_IFSOCK {
			if err := l.give(fd, user); err != nil {
				return nil, failed("chown", f.Name(), err)
			}
		}
		if fd <= 2 {
			moved, err := again(func() (int, error) { return unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) })
			if err != nil {
				return nil, failed("dup", f.Name(), err)
			}
			fd = l.own(moved)
		}
		io.fds[i] = fd
	}
	return io, nil
}

// console shows the terminal as /dev/console: it is the first in its devpts,
// which is not there when /dev is no filesystem of its own.
func (l *launcher) console() {
	name := l.str("console") // in /dev, where the child is
	l.call("create", "/dev/console", unix.SYS_MKNODAT, at, name, unix.S_IFREG|0o620, 0).except(unix.EEXIST)
	l.call("mount", "/dev/console", unix.SYS_MOUNT, l.str("pts/0"), name, 0, unix.MS_BIND, 0).except(unix.ENOENT)
}
