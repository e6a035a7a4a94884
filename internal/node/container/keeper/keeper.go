// Package keeper is the program that is the parent of a node's containers.
//
// It starts them (container/launch), reaps them, keeps their pidfds, terminals
// and inputs, and writes their output to logs. It is small because it must live
// as long as the node: the daemon comes and goes, and connects through a socket
// in the keeper's directory.
//
// What survives whom:
//
//   - A container's output goes through two named pipes that the container has
//     open for reading too. So nobody's death closes them, and whoever keeps
//     logs next opens them by name. The daemon holds reading ends, so that what
//     an ending container leaves in them stays.
//   - A chunk of output is read into a file in memory (journal) and erased there
//     after the log has it. A keeper killed in between left what is needed to
//     write the same bytes at the same place again.
//   - Terminals, inputs and pidfds have no name. The daemon holds duplicates and
//     hands them back to the next keeper.
//   - The holder, a process that does nothing else, has duplicates of all of
//     these too, for when keeper and daemon are dead at once.
//   - status.json in each container's directory tells the rest. An exit is
//     written there before the process is reaped.
//
// One goroutine, the loop, moves all output; the rest asks it by loop.do.
// Locks: Keeper.mu before anything else; the loop takes none but its own.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Config holds the settings of a Keeper. Dir is required.
type Config struct {
	Dir string // where its socket and its containers' state live
}

// ErrTaken says that the directory has a keeper already.
var ErrTaken = errors.New("another keeper runs")

// ExitTaken is the exit code of a keeper that found another one: whoever started
// it has only to connect to that.
const ExitTaken = 3

// An upgrade asks for another program to go on as. Only a failure is told.
type upgrade struct {
	binary string
	failed chan error
}

// Paths inside Config.Dir that the daemon knows too.
const (
	Socket  = "keeper.sock"
	Lock    = "keeper.lock"
	LogFile = "keeper.log"
)

// A Keeper looks after containers.
type Keeper struct {
	dir     string
	log     *slog.Logger
	build   string
	loop    *loop
	reaper  *reaper
	journal *journal
	holder  *holder

	mu         sync.Mutex
	containers map[string]*box
	execs      map[string]*execution
	starting   map[string]bool
	clients    map[*client]bool
	lastExec   int

	slots    chan struct{}  // bounds how many processes are made at once: each holds a thread
	work     sync.RWMutex   // held for reading while a process is made
	quit     chan struct{}  // closed by CallQuit
	upgrade  chan upgrade   // programs to go on as
	sessions sync.WaitGroup // the goroutines that serve clients
}

// Run keeps containers until ctx ends or a client asks it to quit. Containers
// go on without it.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	inherited, err := takeInheritance()
	if err != nil {
		return err
	}
	lock, err := acquire(filepath.Join(cfg.Dir, Lock), inherited)
	if err != nil {
		return err
	}
	k := &Keeper{
		dir: cfg.Dir, log: log, build: Digest("/proc/self/exe"),
		containers: map[string]*box{}, execs: map[string]*execution{}, starting: map[string]bool{}, clients: map[*client]bool{},
		slots: make(chan struct{}, max(16, 4*runtime.NumCPU())), quit: make(chan struct{}), upgrade: make(chan upgrade),
	}
	// Whoever a container leaves behind becomes ours: only a parent can reap.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keeper: become subreaper: %w", err)
	}
	if k.journal, err = openJournal(filepath.Join(cfg.Dir, "journal")); err != nil {
		return err
	}
	if k.loop, err = newLoop(); err != nil {
		return err
	}
	k.reaper = newReaper()
	k.holder = k.newHolder()
	found := k.holder.find()
	if err := k.adopt(inherited); err != nil {
		return err
	}
	listener, err := listen(filepath.Join(cfg.Dir, Socket), inherited)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	parts.Go(func() { k.loop.run(ctx) })
	parts.Go(func() { k.reaper.run(ctx) })
	parts.Go(func() { k.accept(ctx, listener) })
	if found != nil {
		go k.holder.watch(found) // ends with the connection
	}
	quits := false
	k.log.Info("keeping", "dir", cfg.Dir, "containers", len(k.containers), "pid", os.Getpid())
	for {
		select {
		case <-ctx.Done():
		case <-k.quit:
			quits = true
		case u := <-k.upgrade:
			err := k.execAnew(u.binary, lock, listener)
			k.log.Error("upgrade failed, going on as before", "err", err)
			u.failed <- err
			continue
		}
		break
	}
	cancel()
	k.disconnect()
	k.holder.close(quits)
	parts.Wait()
	k.sessions.Wait()
	return errors.Join(listener.Close(), lock.Close())
}

// acquire makes sure that a directory has one keeper.
func acquire(path string, from *inheritance) (*os.File, error) {
	if from != nil {
		return os.NewFile(uintptr(from.Lock), path), nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("keeper: %s: %w: %w", path, ErrTaken, err)
	}
	// For those who look for it without a connection.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}
