package launch

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limit is how long a child may take to execve. It blocks on a dead network
// filesystem, say; the caller is better served by an error.
const limit = 2 * time.Minute

// The runtime must know that the thread is in a system call: the child may take
// long, and a garbage collection waits for every thread that is not in one.
//
//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

//go:noescape
func cloneAndRun(h *header) int64

// enter is cloneAndRun as package syscall would call it.
//
//go:nosplit
//go:norace
func enter(h *header) int64 {
	entersyscall()
	r := cloneAndRun(h)
	exitsyscall()
	return r
}

// run clones the child and returns once it has executed its program or failed.
// The exit signal is 0, so that a program that reaps its children with wait4(-1)
// does not see a child that failed here; execve turns it into SIGCHLD.
//
// A second clone3 in the table (see nest) makes the container's process from
// within namespaces that only children enter; its pidfd is in nested.
func (t *table) run(args cloneArgs, nested *int32) (*Process, error) {
	if t.err != nil {
		return nil, t.err
	}
	pidfd := place(t, int32(-1))
	args.flags |= unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND
	args.pidfd = uint64(uintptr(unsafe.Pointer(pidfd)))
	t.hdr.clone = put(t, args)
	t.hdr.cloneLen = unsafe.Sizeof(args)
	if t.err != nil {
		return nil, t.err
	}
	late := make(chan struct{})
	watchdog := time.AfterFunc(t.limit, func() {
		defer close(late)
		for _, fd := range []*int32{nested, pidfd} {
			if fd != nil && atomic.LoadInt32(fd) >= 0 {
				_ = unix.PidfdSendSignal(int(atomic.LoadInt32(fd)), unix.SIGKILL, nil, 0)
			}
		}
	})
	pid := enter(t.hdr)
	if !watchdog.Stop() {
		<-late
	}
	if pid < 0 {
		return nil, &StepError{Step: "clone3", Errno: syscall.Errno(-pid)}
	}
	p := &Process{PID: int(pid), PIDFD: os.NewFile(uintptr(*pidfd), "pidfd")}
	err := t.outcome()
	if nested == nil {
		if err != nil {
			p.reap()
			return nil, err
		}
		return p, nil
	}
	// The task in between has ended.
	p.reap()
	if *nested < 0 {
		return nil, err
	}
	p = &Process{PIDFD: os.NewFile(uintptr(*nested), "pidfd")}
	for i := range t.steps {
		if e := t.entry(i); e.nr == unix.SYS_CLONE3 && e.result != notRun {
			p.PID = int(e.result)
		}
	}
	if err != nil {
		p.reap()
		return nil, err
	}
	return p, nil
}

// outcome tells from the table how far the child came.
func (t *table) outcome() error {
	i := int((t.hdr.at - t.hdr.first) / unsafe.Sizeof(entry{}))
	if t.hdr.at == 0 {
		return &StepError{Step: "start", Errno: unix.ESRCH}
	}
	e, s := t.entry(i), t.steps[i]
	exec := e.nr == unix.SYS_EXECVE
	switch {
	case exec && e.result == notRun:
		return nil
	case exec:
		return &StepError{Step: "exec", Path: s.path, Errno: t.execError()}
	case e.result == notRun || e.result >= 0:
		return fmt.Errorf("%s %s: the process was killed before it could start", s.name, s.path)
	}
	return &StepError{Step: s.name, Path: s.path, Errno: syscall.Errno(-e.result)}
}

// execError is the error of several attempts to execute: a program that may not
// be executed is more telling than one that is not there.
func (t *table) execError() syscall.Errno {
	answer := syscall.ENOENT
	for i := range t.steps {
		e := t.entry(i)
		if r := e.result; e.nr == unix.SYS_EXECVE && r < 0 && r != -int64(syscall.ENOENT) && r != -int64(syscall.ENOTDIR) {
			answer = syscall.Errno(-r)
		}
	}
	return answer
}

// reap ends and forgets a child that will not become a container.
func (p *Process) reap() {
	fd := int(p.PIDFD.Fd())
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	for unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WALL, nil) == unix.EINTR {
	}
	_ = p.PIDFD.Close()
}
