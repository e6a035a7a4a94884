package launch

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// privileged is what only the host's root may do, before a user namespace.
func (l *launcher) privileged(p *specs.Process) error {
	if p.OOMScoreAdj != nil {
		// Lowering takes CAP_SYS_RESOURCE, which some machines withhold.
		l.procfs("self/oom_score_adj", strconv.Itoa(*p.OOMScoreAdj), unix.EACCES)
	}
	return l.rlimits(p.Rlimits)
}

// procfs writes text to a file of the host's /proc, which needs no /proc in the
// container and cannot be one that an image made up. What it is about is the
// child, and for sysctls the child's namespaces.
func (l *launcher) procfs(file, text string, except ...unix.Errno) {
	name := "/proc/" + file
	open := l.call("write", name, unix.SYS_OPENAT, l.proc.Fd(), l.str(file), unix.O_WRONLY|unix.O_CLOEXEC)
	write := l.call("write", name, unix.SYS_WRITE, 0, l.str(text), uintptr(len(text))).except(except...)
	done := l.call("close", name, unix.SYS_CLOSE, 0)
	open.feeds(write, 0).feeds(done, 0)
}

// identify sets what the container's own namespaces hold.
func (l *launcher) identify(spec *specs.Spec) {
	if l.ns.fresh&unix.CLONE_NEWUTS != 0 {
		if n := spec.Hostname; n != "" {
			l.call("sethostname", n, unix.SYS_SETHOSTNAME, l.str(n), uintptr(len(n)))
		}
		if n := spec.Domainname; n != "" {
			l.call("setdomainname", n, unix.SYS_SETDOMAINNAME, l.str(n), uintptr(len(n)))
		}
	}
	if l.ns.fresh&unix.CLONE_NEWNET != 0 {
		l.loopback()
	}
	if l.ns.fresh&unix.CLONE_NEWTIME != 0 && len(spec.Linux.TimeOffsets) > 0 {
		var text strings.Builder
		for _, clock := range slices.Sorted(maps.Keys(spec.Linux.TimeOffsets)) {
			o := spec.Linux.TimeOffsets[clock]
			fmt.Fprintf(&text, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
		}
		l.procfs("self/timens_offsets", text.String())
	}
	for _, key := range slices.Sorted(maps.Keys(spec.Linux.Sysctl)) {
		l.procfs("sys/"+sysctlPath(key), spec.Linux.Sysctl[key])
	}
}

// loopback brings up lo in a network namespace that is new.
func (l *launcher) loopback() {
	var ifr struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(ifr.name[:], "lo")
	ifr.flags = unix.IFF_UP | unix.IFF_RUNNING
	socket := l.call("socket", "lo", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	up := l.call("bring up", "lo", unix.SYS_IOCTL, 0, unix.SIOCSIFFLAGS, put(l.table, ifr))
	done := l.call("close", "lo", unix.SYS_CLOSE, 0)
	socket.feeds(up, 0).feeds(done, 0)
}

// become makes the child the container's process: its identity, its limits, and
// last its program. From here on things are only taken away.
func (l *launcher) become(p *specs.Process, io *stdio, filter Seccomp, root int) error {
	l.call("setsid", "", unix.SYS_SETSID)
	l.call("join session keyring", "", unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0).
		except(unix.ENOSYS, unix.EDQUOT, unix.EPERM, unix.EACCES)
	for i, fd := range io.fds {
		l.call("connect", strconv.Itoa(i), unix.SYS_DUP3, fd, uintptr(i), 0)
	}
	if io.terminal {
		l.call("set terminal", "", unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0)
	}
	umask := uint32(0o022)
	if p.User.Umask != nil {
		umask = *p.User.Umask
	}
	l.call("umask", "", unix.SYS_UMASK, uintptr(umask))
	l.scheduling(p)
	if err := l.labels(p); err != nil {
		return err
	}
	// Before the working directory is entered: a link in the image may name
	// /proc/self/fd, and must find nothing of the host there.
	l.call("close_range", "", unix.SYS_CLOSE_RANGE, 3, uintptr(^uint32(0)), 0)
	l.applyLimits()
	if !p.NoNewPrivileges {
		// Without no_new_privs a filter takes CAP_SYS_ADMIN, still held here.
		l.seccomp(filter)
	}
	cwd := p.Cwd
	if cwd == "" {
		cwd = "/"
	}
	// First as root, who may enter where the user may not; where root may not
	// (a network filesystem), the user may.
	enter := l.call("chdir", cwd, unix.SYS_CHDIR, l.str(cwd)).except(unix.EACCES, unix.EPERM)
	if err := l.identity(p); err != nil {
		return err
	}
	l.call("chdir", cwd, unix.SYS_CHDIR, l.str(cwd)).ifFailed(enter)
	l.signals()
	if p.NoNewPrivileges {
		l.call("set no_new_privs", "", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		l.seccomp(filter)
	}
	return l.exec(p, root)
}

func (l *launcher) seccomp(filter Seccomp) {
	if len(filter.Program) == 0 {
		return
	}
	size := len(filter.Program) * int(unsafe.Sizeof(unix.SockFilter{}))
	program := unsafe.Slice((*byte)(unsafe.Pointer(&filter.Program[0])), size)
	prog := struct {
		len    uint16
		filter uintptr
	}{uint16(len(filter.Program)), l.bytes(program)}
	l.call("install seccomp filter", "", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(filter.Flags), put(l.table, prog))
}

// lastSignal is the highest real-time signal.
const lastSignal = unix.Signal(64)

// signals gives the process the dispositions of a fresh one. Handlers are gone
// since the clone; ignored signals, such as nohup and C libraries leave, are not.
func (l *launcher) signals() {
	action := l.bytes(make([]byte, 32))
	for s := unix.Signal(1); s <= lastSignal; s++ {
		if s != unix.SIGKILL && s != unix.SIGSTOP {
			l.call("reset signal", s.String(), unix.SYS_RT_SIGACTION, uintptr(s), action, 0, 8)
		}
	}
	l.call("unblock signals", "", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, action, 0, 8)
}

// defaultPath is where programs are looked for when the process has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// exec adds one attempt for each place where the program may be.
func (l *launcher) exec(p *specs.Process, root int) error {
	name := p.Args[0]
	if name == "" {
		return &StepError{Step: "exec", Path: name, Errno: unix.ENOENT}
	}
	search, home := defaultPath, false
	for _, kv := range p.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			search = v
		}
		home = home || strings.HasPrefix(kv, "HOME=")
	}
	env := p.Env
	if !home {
		env = append(env[:len(env):len(env)], "HOME="+homeOf(root, p.User.UID))
	}
	argv, envv := l.strs(p.Args), l.strs(env)
	tries := []string{name}
	if !strings.Contains(name, "/") {
		tries = tries[:0]
		for _, dir := range strings.Split(search, ":") {
			if dir == "" {
				dir = "."
			}
			tries = append(tries, strings.TrimSuffix(dir, "/")+"/"+name)
		}
	}
	for _, try := range tries {
		l.call("exec", name, unix.SYS_EXECVE, l.str(try), argv, envv).except(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
	}
	return nil
}
