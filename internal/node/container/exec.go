package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/pidfd"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// Exec runs one more process inside a container and returns its exit code. Its
// streams are pipes or a terminal between the process and this one; the keeper
// only starts and reaps it. When ctx ends it is killed, with its descendants.
func (r *Runtime) Exec(ctx context.Context, id string, process *specs.Process, streams Stdio) (int, error) {
	code, err := r.exec(ctx, id, process, streams)
	if err != nil {
		return code, fmt.Errorf("exec in container %s: %w", id, err)
	}
	return code, nil
}

func (r *Runtime) exec(ctx context.Context, id string, process *specs.Process, streams Stdio) (int, error) {
	u, err := r.running(id)
	if err != nil {
		return -1, err
	}
	if process == nil || len(process.Args) == 0 {
		return -1, fmt.Errorf("process.args: empty: %w", fault.Invalid)
	}
	req := wire.Exec{ID: id, Process: process}
	var fds []int
	u.mu.Lock()
	native := u.status.Runtime == ""
	u.mu.Unlock()
	if native {
		group, err := r.group(u)
		if err != nil {
			return -1, err
		}
		joins, err := joinFiles(group)
		if err != nil {
			return -1, err
		}
		defer closeFiles(joins)
		fds = descriptors(joins)
		req.Joins = len(joins)
	}
	var pipes execPipes
	if !process.Terminal {
		if pipes, err = newExecPipes(streams); err != nil {
			return -1, err
		}
		defer pipes.close()
		req.Stdin, req.Stdout, req.Stderr = true, true, true
		fds = append(fds, pipes.theirs()...)
	}
	var started wire.Started
	// One that its caller no longer waits for is not given up before it can be
	// ended: it would run on, and nobody would know it.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })()
	files, err := r.call(own, false, wire.CallExec, req, fds, &started)
	if err != nil {
		var failed *StartError
		if errors.As(err, &failed) {
			return failed.cause.ExitCode(), err
		}
		return -1, err
	}
	defer closeFiles(files)
	pipes.closeTheirs()
	if process.Terminal && len(files) > 1 {
		pipes = terminalPipes(files[1], streams)
		files = files[:1]
		defer pipes.close()
	}
	pipes.copy(ctx, streams)
	return r.awaitExec(ctx, started, files[0], &pipes)
}

// awaitExec returns the process's exit code once its output is copied.
func (r *Runtime) awaitExec(ctx context.Context, started wire.Started, process *os.File, pipes *execPipes) (int, error) {
	stop := context.AfterFunc(ctx, func() { killTree(process, started.PID) })
	defer stop()
	// The process is killed when ctx ends: its end is waited for all the same.
	own := context.WithoutCancel(ctx)
	var ended wire.Ended
	_, err := r.call(own, true, wire.CallReaped, wire.Target{ID: started.Exec}, nil, &ended)
	if err != nil {
		// A new keeper does not know it. It is nobody's child that we know.
		ended.Code, err = foreignEnd(own, process, started.PID)
	}
	pipes.drain(ctx)
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return ended.Code, err
}

// foreignEnd waits until a process that the keeper does not know has ended.
func foreignEnd(ctx context.Context, process *os.File, pid int) (int, error) {
	fd := descriptor(process)
	born := uint64(0)
	if st, err := pidfd.ReadStat(pid); err == nil {
		born = st.Born
	}
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 200)
		if err != nil && err != unix.EINTR {
			return 255, fmt.Errorf("wait: %w", err)
		}
		if n > 0 {
			break
		}
	}
	code, err := pidfd.ForeignExit(fd, pid, born)
	if err != nil {
		return 255, fmt.Errorf("its exit code was lost with the keeper: %w", err)
	}
	return code, nil
}

// killTree kills a process and all it started that has not left its parents.
func killTree(process *os.File, pid int) {
	// The children first: an orphan cannot be told from others.
	for _, child := range pidfd.Descendants(pid) {
		_ = unix.Kill(child, unix.SIGKILL)
	}
	_ = unix.PidfdSendSignal(descriptor(process), unix.SIGKILL, nil, 0)
}

// execPipes are the streams of an exec.
type execPipes struct {
	in, out, err *os.File // ours
	far          []*os.File
	terminal     *os.File
	copies       []chan struct{} // one for each output, closed at its end
}

// newExecPipes makes a pipe for each stream that somebody is at the other end
// of, and /dev/null for the others.
func newExecPipes(streams Stdio) (p execPipes, err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	for i, wanted := range []bool{streams.Stdin != nil, streams.Stdout != nil, streams.Stderr != nil} {
		if !wanted {
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return p, err
			}
			p.far = append(p.far, null)
			continue
		}
		read, write, err := os.Pipe()
		if err != nil {
			return p, fmt.Errorf("pipe: %w", err)
		}
		switch i {
		case 0:
			p.in, p.far = write, append(p.far, read)
		case 1:
			p.out, p.far = read, append(p.far, write)
		default:
			p.err, p.far = read, append(p.far, write)
		}
	}
	return p, nil
}

func terminalPipes(master *os.File, streams Stdio) execPipes {
	master = pollable(master)
	p := execPipes{terminal: master, out: master}
	if streams.Stdin != nil {
		p.in = master
	}
	return p
}

// theirs returns the far ends. Go's pipes do not block, which the process must
// not see.
func (p *execPipes) theirs() []int {
	var fds []int
	for _, f := range p.far {
		fd := descriptor(f)
		_ = unix.SetNonblock(fd, false)
		fds = append(fds, fd)
	}
	return fds
}

func (p *execPipes) closeTheirs() {
	closeFiles(p.far)
	p.far = nil
}

func (p *execPipes) close() {
	p.closeTheirs()
	for _, f := range []*os.File{p.in, p.out, p.err} {
		if f != nil {
			f.Close()
		}
	}
}

// copy begins to move data. The input's goroutine ends when its reader does: no
// reader can be told to stop.
func (p *execPipes) copy(ctx context.Context, streams Stdio) {
	if p.in != nil {
		in := p.in
		go func() {
			_, _ = io.Copy(in, streams.Stdin)
			if p.terminal == nil {
				in.Close()
			}
		}()
	}
	for _, o := range []struct {
		from *os.File
		to   io.Writer
	}{{p.out, streams.Stdout}, {p.err, streams.Stderr}} {
		if o.from == nil {
			continue
		}
		to := o.to
		if to == nil {
			to = io.Discard
		}
		done := make(chan struct{})
		p.copies = append(p.copies, done)
		go func() {
			defer close(done)
			_, _ = io.Copy(to, o.from)
		}()
	}
	if p.terminal != nil && streams.Resize != nil {
		go resize(ctx, streams.Resize, p.terminal)
	}
}

// drain waits until the output of an ended process is copied. What it left
// running may hold the streams open; that is not waited for.
func (p *execPipes) drain(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	idle := 0
	for _, done := range p.copies {
		for open := true; open; {
			select {
			case <-done:
				open = false
			case <-tick.C:
				if p.empty() {
					idle++
				} else {
					idle = 0
				}
				if idle > 10 || ctx.Err() != nil {
					for _, f := range []*os.File{p.out, p.err} {
						if f != nil {
							_ = f.SetReadDeadline(time.Now())
						}
					}
				}
				if ctx.Err() != nil && idle > 50 {
					return // the writer at the other end blocks
				}
			}
		}
	}
}

// empty tells whether all that was written has been read.
func (p *execPipes) empty() bool {
	for _, f := range []*os.File{p.out, p.err} {
		if f == nil {
			continue
		}
		if n, err := unix.IoctlGetInt(descriptor(f), unix.TIOCINQ); err == nil && n > 0 {
			return false
		}
	}
	return true
}
