package launch

import (
	"os"
	"path"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// standardDevices are in every container's /dev.
var standardDevices = []specs.LinuxDevice{
	{Path: "/dev/null", Type: "c", Major: 1, Minor: 3},
	{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5},
	{Path: "/dev/full", Type: "c", Major: 1, Minor: 7},
	{Path: "/dev/random", Type: "c", Major: 1, Minor: 8},
	{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 9},
	{Path: "/dev/tty", Type: "c", Major: 5, Minor: 0},
}

var standardLinks = [][2]string{
	{"/proc/self/fd", "/dev/fd"},
	{"/proc/self/fd/0", "/dev/stdin"},
	{"/proc/self/fd/1", "/dev/stdout"},
	{"/proc/self/fd/2", "/dev/stderr"},
	{"pts/ptmx", "/dev/ptmx"},
	{"/proc/kcore", "/dev/core"},
}

// devices fills /dev, unless it is the host's, and makes those asked for.
func (l *launcher) devices(spec *specs.Spec, io *stdio) error {
	hostDev := false
	for _, m := range spec.Mounts {
		o := parseOptions(m.Options)
		if path.Clean(m.Destination) == "/dev" && (m.Type == "bind" || o.bind) {
			hostDev = true
		}
	}
	made := map[string]bool{}
	list := spec.Linux.Devices
	if !hostDev {
		list = append(list[:len(list):len(list)], standardDevices...)
	}
	for _, d := range list {
		if p := path.Clean(d.Path); !made[p] && !(hostDev && path.Dir(p) == "/dev") {
			made[p] = true
			if err := l.device(d); err != nil {
				return err
			}
		}
	}
	if hostDev {
		return nil
	}
	l.chdir("/dev")
	for _, link := range standardLinks {
		l.call("symlink", link[1], unix.SYS_SYMLINKAT, l.str(link[0]), at, l.str(path.Base(link[1]))).except(unix.EEXIST)
	}
	if io.terminal {
		l.console()
	}
	return nil
}

// device makes one node. What is already at its place stays.
func (l *launcher) device(d specs.LinuxDevice) error {
	if l.users != nil {
		// A node made in a user namespace cannot be opened: show the host's.
		return l.bind(specs.Mount{Destination: d.Path, Source: d.Path}, parseOptions([]string{"bind", "rprivate"}))
	}
	mode := uint32(0o666)
	if d.FileMode != nil {
		mode = uint32(d.FileMode.Perm()) | special(*d.FileMode)
	}
	switch d.Type {
	case "b":
		mode |= unix.S_IFBLK
	case "p":
		mode |= unix.S_IFIFO
	default:
		mode |= unix.S_IFCHR
	}
	p := path.Clean("/" + d.Path)
	l.chdir(path.Dir(p))
	name := l.str(path.Base(p))
	l.call("mknod", p, unix.SYS_MKNODAT, at, name, uintptr(mode), uintptr(unix.Mkdev(uint32(d.Major), uint32(d.Minor)))).except(unix.EEXIST)
	if d.UID != nil && *d.UID != 0 || d.GID != nil && *d.GID != 0 {
		l.call("chown", p, unix.SYS_FCHOWNAT, at, name, id(d.UID), id(d.GID), unix.AT_SYMLINK_NOFOLLOW)
	}
	return nil
}

// chdir enters a directory, making it when it is missing. What follows there by
// its bare name cannot be led elsewhere by a link.
func (l *launcher) chdir(dir string) {
	if l.dir == dir {
		return
	}
	l.dir = dir
	l.target(dir, true, false, func() []slot {
		return []slot{{l.call("chdir", dir, unix.SYS_FCHDIR, 0), 0}, {l.call("close", dir, unix.SYS_CLOSE, 0), 0}}
	})
}

func id(n *uint32) uintptr {
	if n == nil {
		return 0
	}
	return uintptr(*n)
}

func special(m os.FileMode) (bits uint32) {
	if m&os.ModeSetuid != 0 {
		bits |= unix.S_ISUID
	}
	if m&os.ModeSetgid != 0 {
		bits |= unix.S_ISGID
	}
	if m&os.ModeSticky != 0 {
		bits |= unix.S_ISVTX
	}
	return bits
}
