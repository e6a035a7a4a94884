package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// A box is one container, from its start to CallDelete.
type box struct {
	id      string
	dir     string
	log     *slog.Logger
	loop    *loop
	journal *journal

	// Only the loop uses these.
	out     *logFile
	taps    *taps
	streams []*stream

	mu     sync.Mutex // guards the rest
	rec    record
	pidfd  int // -1 once the end is known
	master int // a terminal, or -1
	stdin  int // the input's writing end, or -1
	ending bool
	done   chan struct{} // closed when it has ended and its output is written
}

// newBox makes a box without a process. Its log is open.
func (k *Keeper) newBox(rec record) (*box, error) {
	log := k.log.With("container", rec.ID)
	out, err := openLog(rec.Log, log, func(trouble wire.LogTrouble) {
		trouble.ID = rec.ID
		// Not by the loop: a daemon that does not read must not stop all output.
		go k.tell(wire.EventLog, trouble)
	})
	if err != nil {
		return nil, err
	}
	return &box{
		id: rec.ID, dir: k.boxDir(rec.ID), log: log, loop: k.loop, journal: k.journal,
		out: out, taps: &taps{loop: k.loop},
		rec: rec, pidfd: -1, master: -1, stdin: -1, done: make(chan struct{}),
	}, nil
}

func (k *Keeper) boxDir(id string) string { return filepath.Join(k.dir, containersDir, id) }

// pipe is the path of the named pipe of a stream.
func (b *box) pipe(name streamName) string { return filepath.Join(b.dir, string(name)) }

// makePipe makes the named pipe and returns both ends: ours, and the one that
// becomes the container's descriptor. That is open for reading too, so that no
// death but the container's own can break it.
func (b *box) makePipe(name streamName) (read, theirs int, err error) {
	path := b.pipe(name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return -1, -1, fmt.Errorf("make pipe %s: %w", path, err)
	}
	if read, err = openPipe(path); err != nil {
		return -1, -1, err
	}
	read = apart(read)
	theirs, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(read)
		return -1, -1, fmt.Errorf("open pipe %s: %w", path, err)
	}
	return read, theirs, nil
}

func openPipe(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open pipe %s: %w", path, err)
	}
	return fd, nil
}

// reads adds the container's outputs, whose descriptors are now the box's.
func (b *box) reads(hold bool, outputs map[streamName]int) {
	b.loop.wait(func() {
		for _, name := range []streamName{stdout, stderr} {
			if fd, ok := outputs[name]; ok {
				s := newStream(b, name, fd, fd != b.master)
				s.held = hold
				b.streams = append(b.streams, s)
			}
		}
		for _, s := range b.streams {
			s.start()
		}
	})
}

// watches has ended called when the process has ended.
func (b *box) watches(ended func()) error {
	var err error
	b.loop.wait(func() {
		fd := b.pidfd
		err = b.loop.watch(fd, unix.EPOLLIN, func(uint32) {
			b.loop.forget(fd)
			go ended()
		})
	})
	return err
}

// drain waits until the output of an ended container is written.
func (b *box) drain(ctx context.Context) {
	var streams []*stream
	limit := time.Second
	b.loop.wait(func() {
		streams = b.streams
		for _, s := range streams {
			if s.held || s.waiting > 0 {
				limit = 10 * time.Second // somebody is to see it first
			}
		}
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, s := range streams {
		select {
		case <-s.done:
		case <-timer.C:
			// A process outside has the pipe open: an exec, or one sharing the
			// process namespace.
			b.loop.wait(func() {
				for _, s := range streams {
					s.finish()
				}
			})
			return
		case <-ctx.Done():
			return
		}
	}
}

// release closes all descriptors; the output must be written.
func (b *box) release() {
	b.loop.wait(func() {
		for _, s := range b.streams {
			s.finish()
		}
		b.loop.forget(b.pidfd)
		b.out.close()
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	wire.CloseAll([]int{b.pidfd, b.master, b.stdin})
	b.pidfd, b.master, b.stdin = -1, -1, -1
}

// discard undoes a start that failed.
func (b *box) discard() {
	b.loop.wait(func() {
		for _, s := range b.streams {
			s.close()
		}
		b.out.discard()
	})
	b.release()
	if err := removeDir(b.dir); err != nil {
		b.log.Warn("directory left behind", "err", err)
	}
}

func (b *box) status() wire.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rec.Status
}

func (b *box) record() record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rec
}

// held returns what the daemon should hold, with duplicates of the descriptors:
// the container may end before they are sent.
func (b *box) held() (wire.Held, []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := wire.Held{Status: b.rec.Status}
	var fds []int
	add := func(has *bool, fd int) {
		if fd < 0 {
			return
		}
		if dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			*has = true
			fds = append(fds, dup)
		}
	}
	add(&h.Pidfd, b.pidfd)
	add(&h.Master, b.master)
	add(&h.Stdin, b.stdin)
	b.loop.wait(func() {
		for _, s := range b.streams {
			switch {
			case !s.open || !s.own:
			case s.name == stdout:
				add(&h.Stdout, s.fd)
			default:
				add(&h.Stderr, s.fd)
			}
		}
	})
	return h, fds
}
