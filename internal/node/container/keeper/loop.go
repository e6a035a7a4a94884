package keeper

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// A loop waits for many descriptors at once and calls their handlers, one at a
// time, on one thread. A goroutine for each pipe would cost two stacks and two
// buffers a container.
type loop struct {
	epoll int
	wake  int // an eventfd: something was asked by do
	on    map[int]func(events uint32)
	lines []byte // room for a chunk's log lines, shared by all streams

	mu    sync.Mutex
	asked []func()
}

func newLoop() (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("keeper: epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("keeper: eventfd: %w", err)
	}
	l := &loop{epoll: ep, wake: wake, on: map[int]func(uint32){}}
	return l, l.watch(wake, unix.EPOLLIN, l.answer)
}

// run handles events until ctx ends.
func (l *loop) run(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stop := context.AfterFunc(ctx, func() { l.do(func() {}) })
	defer stop()
	events := make([]unix.EpollEvent, 128)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil {
			continue // EINTR; there is no other reason
		}
		for _, e := range events[:n] {
			// A handler before may have let go of it.
			if handle := l.on[int(e.Fd)]; handle != nil {
				handle(e.Events)
			}
		}
	}
}

// do has f called by the loop, soon.
func (l *loop) do(f func()) {
	l.mu.Lock()
	l.asked = append(l.asked, f)
	l.mu.Unlock()
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	unix.Write(l.wake, one[:])
}

// wait is do, and returns after f has.
func (l *loop) wait(f func()) {
	done := make(chan struct{})
	l.do(func() { f(); close(done) })
	<-done
}

func (l *loop) answer(uint32) {
	var n [8]byte
	unix.Read(l.wake, n[:])
	l.mu.Lock()
	asked := l.asked
	l.asked = nil
	l.mu.Unlock()
	for _, f := range asked {
		f()
	}
}

// watch calls handle when fd has one of the events. Like the methods below it
// is for the loop's own goroutine.
func (l *loop) watch(fd int, events uint32, handle func(uint32)) error {
	l.on[fd] = handle
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		delete(l.on, fd)
		return fmt.Errorf("keeper: watch descriptor %d: %w", fd, err)
	}
	return nil
}

// forget stops watching fd, which must still be open.
func (l *loop) forget(fd int) {
	if l.on[fd] != nil {
		delete(l.on, fd)
		unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	}
}
