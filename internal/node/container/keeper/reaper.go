package keeper

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A reaper clears away processes that became ours because their parents died:
// the keeper is a subreaper. Children that somebody here waits for are left to
// them.
type reaper struct {
	// births is held for reading while a child is made and claimed, and for
	// writing while orphans are reaped: between, a child looks like an orphan.
	births sync.RWMutex

	mu    sync.Mutex
	mine  map[int]bool
	holds int // while there are any, nothing is reaped
}

func newReaper() *reaper { return &reaper{mine: map[int]bool{}} }

// birth runs start, which makes a child and returns its PID. The caller reaps
// it and then calls forget.
func (r *reaper) birth(start func() (pid int, err error)) error {
	r.births.RLock()
	defer r.births.RUnlock()
	pid, err := start()
	if err == nil {
		r.claim(pid)
	}
	return err
}

func (r *reaper) claim(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mine[pid] = true
}

func (r *reaper) forget(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mine, pid)
}

// hold stops reaping until as many releases: a process is on its way to us that
// is not claimed yet.
func (r *reaper) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds++
}

func (r *reaper) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds--
}

func (r *reaper) run(ctx context.Context) {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	defer signal.Stop(died)
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-died:
		case <-again.C:
		}
		if !r.sweep() {
			again.Reset(100 * time.Millisecond)
		}
	}
}

// sweep reaps orphans. It returns false when one that is waited for is in the
// way: the kernel always shows the same one first.
func (r *reaper) sweep() bool {
	r.births.Lock()
	defer r.births.Unlock()
	for {
		var info struct {
			unix.Siginfo
		}
		err := unix.Waitid(unix.P_ALL, 0, &info.Siginfo, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		pid := int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), 16)))
		if err != nil || pid == 0 {
			return true
		}
		r.mu.Lock()
		mine := r.mine[pid] || r.holds > 0
		r.mu.Unlock()
		if mine {
			return false
		}
		unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG, nil)
	}
}
