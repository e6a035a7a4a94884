package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// startNative makes a container's process with one clone3.
func (k *Keeper) startNative(req wire.Start, joins []int, stdio [3]int) (process, error) {
	files := openFiles(slices.Concat(joins, stdio[:]))
	defer files.close()
	r := launch.Request{
		ID: req.ID, Spec: req.OCI, Root: launch.Rootfs(req.Root), Seccomp: asFilter(req.Filter, req.FilterFlags),
		Cgroups: files[:len(joins)], Stdin: files[len(joins)], Stdout: files[len(joins)+1], Stderr: files[len(joins)+2],
		Terminal: req.OCI.Process.Terminal, Private: firstOwn(),
	}
	for _, m := range req.CgroupMounts {
		r.CgroupMounts = append(r.CgroupMounts, launch.CgroupMount(m))
	}
	return k.launch(func() (*launch.Process, error) { return launch.Start(r) })
}

// execNative makes one more process in a container's namespaces.
func (k *Keeper) execNative(b *box, req wire.Exec, joins []int, stdio [3]int) (process, error) {
	b.mu.Lock()
	rec := b.rec
	files := openFiles(slices.Concat([]int{b.pidfd}, joins, stdio[:]))
	b.mu.Unlock()
	defer files.close()
	seccomp, err := k.filterOf(rec)
	if err != nil {
		return process{}, err
	}
	n := 1 + len(joins)
	r := launch.ExecRequest{
		ID: req.ID, PID: rec.PID, PIDFD: files[0], Spec: req.Process, Seccomp: seccomp,
		Cgroups: files[1:n], Stdin: files[n], Stdout: files[n+1], Stderr: files[n+2], Terminal: req.Process.Terminal,
	}
	return k.launch(func() (*launch.Process, error) { return launch.Exec(r) })
}

// launch runs a start so that the child is claimed before anybody can take it
// for an orphan.
func (k *Keeper) launch(start func() (*launch.Process, error)) (process, error) {
	var p *launch.Process
	err := k.reaper.birth(func() (int, error) {
		var err error
		if p, err = start(); err != nil {
			return 0, err
		}
		return p.PID, nil
	})
	if err != nil {
		return process{}, describe(err)
	}
	made := process{pid: p.PID, pidfd: take(p.PIDFD), master: -1}
	if p.Master != nil {
		made.master = take(p.Master)
	}
	return made, nil
}

// describe puts what a launch says of its failure into a form for the wire.
func describe(err error) error {
	answer := &wire.Error{Text: err.Error()}
	var kind fault.Kind
	var step *launch.StepError
	isStep := errors.As(err, &step)
	if isStep {
		answer.Step, answer.Path, answer.Errno = step.Step, step.Path, int(step.Errno)
	}
	switch {
	case errors.As(err, &kind):
		answer.Kind = string(kind)
	case wrong(err):
		answer.Kind = wire.Invalid
	case !isStep:
	case step.Step == "exec", errors.Is(step.Errno, fs.ErrNotExist),
		step.Step == "mount" && step.Errno == unix.EINVAL: // a directory over a file, or the other way round
		answer.Kind = wire.Invalid
	case step.Errno == unix.ENOSYS, step.Errno == unix.EOPNOTSUPP:
		answer.Kind = wire.Unsupported
	}
	return answer
}

// wrong tells whether the kernel was asked for what no container can have: a path
// that leads nowhere, arguments beyond what a program can be given.
func wrong(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.E2BIG},
		func(errno error) bool { return errors.Is(err, errno) })
}

// fileList are descriptors as files, for those who want them so.
type fileList []*os.File

// openFiles duplicates descriptors; -1 becomes nil.
func openFiles(fds []int) fileList {
	list := make(fileList, len(fds))
	for i, fd := range dupAll(fds) {
		if fd >= 0 {
			list[i] = os.NewFile(uintptr(fd), fmt.Sprintf("descriptor %d", fds[i]))
		}
	}
	return list
}

func (l fileList) close() {
	for _, f := range l {
		if f != nil {
			f.Close()
		}
	}
}

// take makes a file a plain descriptor, one of the keeper's own, that the caller
// closes.
func take(f *os.File) int {
	defer f.Close()
	return apart(dupAll([]int{int(f.Fd())})[0])
}
