package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// Attach connects to the running container's own input and output and returns
// when the container ends or ctx does. Many may be attached at once. It outlives
// the keeper: what is written while there is none comes when there is one.
func (r *Runtime) Attach(ctx context.Context, id string, streams Stdio) error {
	u, err := r.running(id)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := func() {}
	defer func() { ended() }()
	for first := true; ; first = false {
		l, err := r.keeper(ctx)
		if err != nil {
			return fmt.Errorf("attach to container %s: %w", id, err)
		}
		outputs, err := r.attachOutput(ctx, l, u, streams)
		if err != nil {
			return fmt.Errorf("attach to container %s: %w", id, err)
		}
		if first {
			// Not before the outputs: the answer to the input is on them.
			ended = r.attachInput(ctx, u, streams)
		}
		copyOutputs(ctx, outputs, streams)
		select {
		case <-u.exited:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-l.gone:
			// Its pipes ended with it, the container has not.
			time.Sleep(time.Millisecond)
		}
	}
}

// attachOutput asks the keeper for the reading ends of the streams. There are
// none when the keeper or the container has ended meanwhile.
func (r *Runtime) attachOutput(ctx context.Context, l *link, u *unit, streams Stdio) ([]*os.File, error) {
	key := u.id + "/" + strconv.Itoa(os.Getpid()) + "/" + strconv.FormatUint(r.lastAttach.Add(1), 10)
	req := wire.Attach{ID: u.id, Key: key, Stdout: streams.Stdout != nil, Stderr: streams.Stderr != nil}
	files, err := l.call(ctx, wire.CallAttach, req, nil, nil)
	if errors.Is(err, errGone) {
		return nil, nil
	}
	select {
	case <-u.exited:
		return files, nil
	default:
		return files, err
	}
}

// copyOutputs copies until the streams end, with the container or the keeper,
// or ctx does.
func copyOutputs(ctx context.Context, files []*os.File, streams Stdio) {
	defer closeFiles(files)
	stop := context.AfterFunc(ctx, func() {
		for _, f := range files {
			_ = f.SetReadDeadline(time.Now())
		}
	})
	defer stop()
	var writers []io.Writer
	for _, w := range []io.Writer{streams.Stdout, streams.Stderr} {
		if w != nil {
			writers = append(writers, w)
		}
	}
	var copies sync.WaitGroup
	for i, f := range files {
		copies.Go(func() { _, _ = io.Copy(writers[i], f) })
	}
	copies.Wait()
}

// attachInput copies input to the container. Its goroutine ends when the reader
// does: no reader can be told to stop. The function returned ends the rest.
func (r *Runtime) attachInput(ctx context.Context, u *unit, streams Stdio) func() {
	u.mu.Lock()
	once, terminal := u.status.Once, u.status.Terminal
	u.mu.Unlock()
	which := isStdin
	if terminal {
		which = isMaster
	}
	var closed atomic.Bool
	end := func() {
		if once && !terminal && streams.Stdin != nil && !closed.Swap(true) {
			r.closeStdin(ctx, u)
		}
	}
	if terminal && streams.Resize != nil {
		if master := u.dup(isMaster); master != nil {
			go func() {
				defer master.Close()
				resize(ctx, streams.Resize, master)
			}()
		}
	}
	if streams.Stdin == nil {
		return end
	}
	to := u.dup(which)
	if to == nil {
		return end
	}
	to = pollable(to)
	go func() {
		defer to.Close()
		_, _ = io.Copy(to, streams.Stdin)
		to.Close()
		end()
	}()
	return func() {
		_ = to.SetWriteDeadline(time.Now())
		to.Close()
		end()
	}
}

// closeStdin ends a container's input for good.
func (r *Runtime) closeStdin(ctx context.Context, u *unit) {
	u.drop(isStdin)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, err := r.call(ctx, true, wire.CallStdin, wire.Target{ID: u.id}, nil, nil); err != nil {
		r.log.Debug("input not closed", "container", u.id, "err", err)
	}
}

// resize gives a terminal its sizes until ctx ends.
func resize(ctx context.Context, sizes <-chan Size, terminal *os.File) {
	for {
		select {
		case s, ok := <-sizes:
			if !ok {
				return
			}
			_ = unix.IoctlSetWinsize(descriptor(terminal), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Height, Col: s.Width})
		case <-ctx.Done():
			return
		}
	}
}

// pollable makes f one whose reads and writes can be given up.
func pollable(f *os.File) *os.File {
	fd, err := unix.FcntlInt(uintptr(descriptor(f)), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return f
	}
	_ = unix.SetNonblock(fd, true)
	f.Close()
	return os.NewFile(uintptr(fd), f.Name())
}
