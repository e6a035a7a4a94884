package launch

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// ExecRequest is one more process to run inside a container. Exec closes none of
// its files.
type ExecRequest struct {
	ID       string   // the container's, for errors
	PID      int      // the container's first process
	PIDFD    *os.File // the same
	Spec     *specs.Process
	Seccomp  Seccomp
	Cgroups  []*os.File // as in Request
	Stdin    *os.File
	Stdout   *os.File
	Stderr   *os.File
	Terminal bool // make a terminal from the container's devpts
}

// Exec runs a process in the namespaces, the root and the cgroups of a running
// container, up to its execve. It is the caller's child. A time namespace is the
// one that it does not join: Linux lets only a process that shares its memory
// with nobody do so.
func Exec(req ExecRequest) (*Process, error) {
	defer runtime.KeepAlive(&req) // the table knows the files by number only
	p, err := execute(req)
	if err != nil {
		return nil, fmt.Errorf("exec in %s: %w", req.ID, err)
	}
	return p, nil
}

func execute(req ExecRequest) (*Process, error) {
	if req.Spec == nil || len(req.Spec.Args) == 0 || req.PIDFD == nil {
		return nil, fmt.Errorf("no process to run: %w", fault.Invalid)
	}
	if err := errors.Join(refuse(Lacks(&specs.Spec{Process: req.Spec})), checkScheduling(req.Spec)); err != nil {
		return nil, err
	}
	l, err := newLauncher(512, req.Spec)
	if err != nil {
		return nil, err
	}
	defer l.close()
	rootPath := fmt.Sprintf("/proc/%d/root", req.PID)
	root, err := again(func() (int, error) { return unix.Open(rootPath, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, failed("open", rootPath, err)
	}
	l.own(root)
	flags, err := l.differing(req.PID)
	if err != nil {
		return nil, err
	}
	// Everything opened by number is of the right process if it still lives.
	if err := unix.PidfdSendSignal(int(req.PIDFD.Fd()), 0, nil, 0); err != nil {
		return nil, fmt.Errorf("container is not running: %w: %w", fault.Precondition, err)
	}
	io, master, err := l.execStdio(req, root)
	if err != nil {
		return nil, err
	}
	p, err := l.execTable(req, io, root, flags)
	if err != nil {
		if master != nil {
			_ = master.Close()
		}
		return nil, err
	}
	p.Master = master
	return p, nil
}

// differing tells which namespaces to join, and learns the user namespace's maps.
func (l *launcher) differing(pid int) (uintptr, error) {
	flags := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	for name, flag := range map[string]uintptr{"user": unix.CLONE_NEWUSER, "pid": unix.CLONE_NEWPID} {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		if err != nil {
			return 0, failed("read namespace", name, err)
		}
		ours, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return 0, failed("read namespace", name, err)
		}
		if theirs != ours {
			flags |= flag
		}
	}
	if flags&unix.CLONE_NEWUSER == 0 {
		return flags, nil
	}
	l.users = &userns{}
	for name, ids := range map[string]*[]specs.LinuxIDMapping{"uid_map": &l.users.uids, "gid_map": &l.users.gids} {
		if err := readMap(fmt.Sprintf("/proc/%d/%s", pid, name), ids); err != nil {
			return 0, err
		}
	}
	return flags, nil
}

func readMap(path string, ids *[]specs.LinuxIDMapping) error {
	f, err := os.Open(path)
	if err != nil {
		return failed("open", path, err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var m specs.LinuxIDMapping
		if _, err := fmt.Sscan(lines.Text(), &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		*ids = append(*ids, m)
	}
	return nil
}

// execTable writes the table and runs it.
func (l *launcher) execTable(req ExecRequest, io *stdio, root int, flags uintptr) (*Process, error) {
	args, err := l.joinCgroups(req.Cgroups)
	if err != nil {
		return nil, err
	}
	process := *req.Spec
	if process.OOMScoreAdj == nil {
		process.OOMScoreAdj = oomScore(req.PID)
	}
	if err := l.privileged(&process); err != nil {
		return nil, err
	}
	l.call("join namespaces", req.ID, unix.SYS_SETNS, req.PIDFD.Fd(), flags)
	var nested *int32
	if flags&(unix.CLONE_NEWPID|unix.CLONE_NEWUSER) != 0 {
		nested = l.nest(&args)
	}
	if l.users != nil {
		l.call("setgid", "0", unix.SYS_SETRESGID, 0, 0, 0)
		l.call("setuid", "0", unix.SYS_SETRESUID, 0, 0, 0)
	}
	if err := l.become(req.Spec, io, req.Seccomp, root); err != nil {
		return nil, err
	}
	return l.run(args, nested)
}

// oomScore is what a further process has when nothing is said: the container's,
// not ours, which may forbid the kernel to kill it.
func oomScore(pid int) *int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	if err != nil {
		return nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return nil
	}
	return &n
}

func (l *launcher) execStdio(req ExecRequest, root int) (*stdio, *os.File, error) {
	if !req.Terminal {
		io, err := l.pipes(req.Spec.User, req.Stdin, req.Stdout, req.Stderr)
		return io, nil, err
	}
	ptmx, err := openPtmx(root)
	if err != nil {
		return nil, nil, failed("open", "/dev/pts/ptmx", err)
	}
	return l.terminal(ptmx, req.Spec)
}

// openPtmx opens the container's terminal multiplexer, and nothing else that the
// container may have put in its place: it is looked at before it is opened.
func openPtmx(root int) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	path, err := again(func() (int, error) { return unix.Openat2(root, "dev/pts/ptmx", &how) })
	if err != nil {
		return -1, err
	}
	defer unix.Close(path)
	var st unix.Stat_t
	if err := unix.Fstat(path, &st); err != nil {
		return -1, err
	}
	var fs unix.Statfs_t
	if _, err := again(func() (int, error) { return 0, unix.Fstatfs(path, &fs) }); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(5, 2) || fs.Type != unix.DEVPTS_SUPER_MAGIC {
		return -1, errors.New("not a terminal multiplexer")
	}
	return again(func() (int, error) {
		return unix.Open(fmt.Sprintf("/proc/self/fd/%d", path), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
}
