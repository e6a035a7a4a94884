package container

import (
	"context"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

type errno = syscall.Errno

// A unit is what the daemon knows and holds of one container.
type unit struct {
	id string

	mu       sync.Mutex
	status   wire.Status
	starting bool
	exited   chan struct{} // closed when status says so
	held     wire.Held     // which of the files there are, in the order of wire.Held
	files    []*os.File
}

func newUnit(id string) *unit { return &unit{id: id, exited: make(chan struct{})} }

// hold asks the keeper for duplicates of the container's descriptors.
func (u *unit) hold(ctx context.Context, l *link) error {
	var h wire.Held
	files, err := l.call(ctx, wire.CallHold, wire.Target{ID: u.id}, nil, &h)
	if err != nil {
		return err
	}
	u.keep(h, files)
	return nil
}

// keep takes over what came with an answer.
func (u *unit) keep(h wire.Held, files []*os.File) {
	u.mu.Lock()
	defer u.mu.Unlock()
	closeFiles(u.files)
	u.held, u.files = h, files
}

// handBack gives a new keeper what was held for its predecessor.
func (u *unit) handBack(ctx context.Context, l *link) error {
	u.mu.Lock()
	h, fds := u.held, descriptors(u.files)
	h.Status = u.status
	h.Status.ID = u.id
	u.mu.Unlock()
	if len(fds) == 0 {
		return nil
	}
	_, err := l.call(ctx, wire.CallReturn, h, fds, nil)
	return err
}

func (u *unit) holds() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.files) > 0
}

func (u *unit) isStarting() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.starting
}

// letGo closes what is held.
func (u *unit) letGo() {
	u.mu.Lock()
	defer u.mu.Unlock()
	closeFiles(u.files)
	u.held, u.files = wire.Held{}, nil
}

// file returns one of the held files, nil if there is none. It is valid while
// the unit holds it.
func (u *unit) file(which func(wire.Held) bool) *os.File {
	i := 0
	for _, has := range []struct {
		has bool
		one wire.Held
	}{
		{u.held.Pidfd, wire.Held{Pidfd: true}}, {u.held.Master, wire.Held{Master: true}}, {u.held.Stdin, wire.Held{Stdin: true}},
		{u.held.Stdout, wire.Held{Stdout: true}}, {u.held.Stderr, wire.Held{Stderr: true}},
	} {
		if !has.has {
			continue
		}
		if which(has.one) {
			return u.files[i]
		}
		i++
	}
	return nil
}

// dup returns a duplicate of a held file, nil if there is none.
func (u *unit) dup(which func(wire.Held) bool) *os.File {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.file(which)
	if f == nil {
		return nil
	}
	fd, err := unix.FcntlInt(uintptr(descriptor(f)), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), f.Name())
}

// drop closes a held file.
func (u *unit) drop(which func(wire.Held) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.file(which)
	if f == nil {
		return
	}
	f.Close()
	u.files = slices.DeleteFunc(u.files, func(g *os.File) bool { return g == f })
	switch {
	case which(wire.Held{Stdin: true}):
		u.held.Stdin = false
	case which(wire.Held{Master: true}):
		u.held.Master = false
	}
}

// The held files, by what they are.
func isPidfd(h wire.Held) bool  { return h.Pidfd }
func isMaster(h wire.Held) bool { return h.Master }
func isStdin(h wire.Held) bool  { return h.Stdin }

// descriptor returns a file's number without making it blocking, as Fd does.
func descriptor(f *os.File) int {
	n := -1
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n = int(fd) })
	}
	return n
}

func descriptors(files []*os.File) []int {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = descriptor(f)
	}
	return fds
}

func asFiles(fds []int) []*os.File {
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "from the keeper")
	}
	return files
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
