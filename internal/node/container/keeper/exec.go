package keeper

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/pidfd"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// An execution is one more process in a container. Its streams are between it
// and the daemon; the keeper only reaps it.
type execution struct {
	key   string
	pid   int
	pidfd int
	code  int
	done  chan struct{}
}

// exec starts a process in a running container. joins and stdio stay the
// caller's; of stdio, -1 is /dev/null.
func (k *Keeper) exec(req wire.Exec, joins []int, stdio [3]int) (*execution, int, error) {
	if req.Process == nil {
		return nil, -1, wire.Errorf(wire.Invalid, "process: missing: %s", wire.Invalid)
	}
	b, err := k.find(req.ID)
	if err != nil {
		return nil, -1, err
	}
	st := b.status()
	if st.Exited || st.Lost {
		return nil, -1, wire.Errorf(wire.Precondition, "exec in %s: it has ended: %s", req.ID, wire.Precondition)
	}
	var p process
	if st.Runtime == "" {
		p, err = k.execNative(b, req, joins, stdio)
	} else {
		p, err = k.execStock(b, req, stdio)
	}
	if err != nil {
		return nil, -1, err
	}
	k.mu.Lock()
	k.lastExec++
	e := &execution{key: req.ID + "/" + strconv.Itoa(k.lastExec), pid: p.pid, pidfd: p.pidfd, done: make(chan struct{})}
	k.execs[e.key] = e
	k.mu.Unlock()
	k.loop.wait(func() { err = k.watchExec(e) })
	return e, p.master, err
}

func (k *Keeper) watchExec(e *execution) error {
	return k.loop.watch(e.pidfd, unix.EPOLLIN, func(uint32) {
		k.loop.forget(e.pidfd)
		code, err := pidfd.ExitOf(e.pidfd)
		if err != nil {
			code = 255
		}
		e.code = code
		pidfd.Reap(e.pidfd)
		k.reaper.forget(e.pid)
		close(e.done)
	})
}

// reaped waits for an exec's end and forgets it.
func (k *Keeper) reaped(key string, gone <-chan struct{}) (wire.Ended, error) {
	k.mu.Lock()
	e := k.execs[key]
	k.mu.Unlock()
	if e == nil {
		return wire.Ended{}, wire.Errorf(wire.NotFound, "exec %s: %s", key, wire.NotFound)
	}
	select {
	case <-e.done:
	case <-gone: // the daemon; it reads the code from its own pidfd
		return wire.Ended{}, wire.Errorf(wire.Precondition, "exec %s: nobody waits any more", key)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.execs[key] == e {
		delete(k.execs, key)
		unix.Close(e.pidfd)
	}
	return wire.Ended{Code: e.code}, nil
}

// adoptExecs goes on with the execs that this keeper itself had before it
// executed itself. Those of a killed keeper are the daemon's alone.
func (k *Keeper) adoptExecs(from *inheritance) {
	if from == nil {
		return
	}
	k.lastExec = from.LastExec
	for key, x := range from.Execs {
		e := &execution{key: key, pid: x.PID, pidfd: x.Pidfd, done: make(chan struct{})}
		k.execs[key] = e
		k.reaper.claim(x.PID)
		if err := k.watchExec(e); err != nil {
			k.log.Warn("exec not watched", "exec", key, "err", err)
		}
	}
}
