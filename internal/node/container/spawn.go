package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/keeper"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// Where the keeper listens and writes, below Config.Dir.
const (
	keeperSocket = "keeper.sock"
	keeperLog    = "keeper.log"
	keeperLock   = "keeper.lock"
)

// patience bounds how long a keeper may take to answer: it first finds out what
// its predecessor has left.
const patience = 20 * time.Second

// deaths is how many keepers may end at once, or under our hands, before that is
// taken for more than bad luck.
const deaths = 5

// dial connects to the keeper, after starting one if none answers.
func (r *Runtime) dial(ctx context.Context) (*link, error) {
	path := filepath.Join(r.cfg.Dir, keeperSocket)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := wire.Dial(path)
	var ours *os.Process
	var ended <-chan *os.ProcessState
	for failed := 0; conn == nil; {
		if ended == nil {
			if ours, ended, err = r.spawn(); err != nil {
				return nil, err
			}
		}
		pause := 2 * time.Millisecond
		select {
		case <-time.After(pause):
		case end := <-ended:
			ended = nil
			if end.ExitCode() == keeper.ExitTaken {
				// Another daemon has just started one, or ours is not quite gone.
				pause *= 10
			} else if failed++; failed == deaths {
				return nil, fmt.Errorf("keeper ended at once, %s (see %s): %w", end, filepath.Join(r.cfg.Dir, keeperLog), fault.Unavailable)
			}
			time.Sleep(pause)
		case <-ctx.Done():
			return nil, fmt.Errorf("keeper does not answer (see %s): %w: %w", filepath.Join(r.cfg.Dir, keeperLog), fault.Unavailable, err)
		}
		conn, err = wire.Dial(path)
	}
	peer, err := conn.Peer()
	if err != nil || peer.Uid != uint32(os.Geteuid()) {
		conn.Close()
		return nil, fmt.Errorf("keeper socket %s belongs to user %d: %w", path, peer.Uid, fault.Forbidden)
	}
	if ended != nil && int(peer.Pid) != ours.Pid {
		// Another was faster. Ours must not take its place when that is told to quit.
		_ = ours.Kill() // it may have seen so itself
		<-ended
	}
	return newLink(ctx, conn, r.event)
}

// spawn starts a keeper that does not end with this process. The channel tells
// how it ended, if it does while this process lives.
func (r *Runtime) spawn() (*os.Process, <-chan *os.ProcessState, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("start keeper: %w", err)
	}
	defer null.Close()
	// What the Go runtime says of a crash has no other place.
	trace, err := os.OpenFile(filepath.Join(r.cfg.Dir, keeperLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("start keeper: %w", err)
	}
	defer trace.Close()
	cmd := exec.Command(r.cfg.Keeper, "--dir", r.cfg.Dir)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, trace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start keeper: %w", err)
	}
	r.settleIn(cmd.Process.Pid)
	// It is our child as long as we live; its end shows on the connection.
	// Not one of our own goroutines: the keeper outlives us.
	ended := make(chan *os.ProcessState, 1)
	go func() {
		_ = cmd.Wait()
		ended <- cmd.ProcessState
	}()
	return cmd.Process, ended, nil
}

// settleIn takes the keeper out of the daemon's cgroup, with which it would be
// killed when the daemon's unit stops, and out of the sight of the OOM killer.
func (r *Runtime) settleIn(pid int) {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("-999"), 0); err != nil && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		r.log.Warn("keeper can be killed for memory", "err", err)
	}
	if r.cfg.Settle != nil {
		if err := r.cfg.Settle(context.Background(), pid); err != nil {
			r.log.Warn("keeper has no cgroup of its own", "err", err)
		}
		return
	}
	if r.cfg.KeeperCgroup == "" {
		return
	}
	group, err := r.cfg.Cgroups.Open(r.cfg.KeeperCgroup)
	if errors.Is(err, fault.NotFound) {
		group, err = r.cfg.Cgroups.Create(context.Background(), r.cfg.KeeperCgroup, nil)
	}
	if err == nil {
		for _, dir := range group.Mounts() {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendf(nil, "%d", pid), 0))
		}
	}
	if err != nil {
		r.log.Warn("keeper has no cgroup of its own", "err", err)
	}
}
