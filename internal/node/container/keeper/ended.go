package keeper

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/pidfd"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// ended sees a container off: what is left of it is killed, its output written,
// its end recorded, and only then reaped and told.
func (k *Keeper) ended(b *box) {
	b.mu.Lock()
	if b.ending {
		b.mu.Unlock()
		return
	}
	b.ending = true
	rec, fd := b.rec, b.pidfd
	b.mu.Unlock()

	ours := false
	rec.Exited, rec.Lost, rec.Finished = true, false, time.Now()
	if fd < 0 {
		rec.Code, rec.Reason = 255, "it ended while neither the daemon nor the keeper was running"
	} else if code, err := pidfd.ExitOf(fd); err == nil {
		rec.Code, ours = code, true
	} else if code, err := pidfd.ForeignExit(fd, rec.PID, rec.Born); err == nil {
		rec.Code = code
	} else {
		rec.Code, rec.Reason = 255, "its exit code was lost with a keeper that was killed: "+err.Error()
	}
	if rec.SharedPIDs {
		killAll(rec.Cgroups)
	}
	b.drain(context.Background())
	rec.OOM = oomKills(rec.Cgroups) > rec.OOMBefore
	pid := rec.PID
	rec.PID = 0
	if err := rec.save(b.dir); err != nil {
		// It is known as long as this keeper lives.
		b.log.Error("exit not recorded", "err", err)
	}
	if ours {
		pidfd.Reap(fd)
		k.reaper.forget(pid)
	}
	b.mu.Lock()
	b.rec = rec
	b.mu.Unlock()
	b.release()
	close(b.done)
	k.holder.drop(b.id)
	k.tell(wire.EventExit, rec.Status)
}

// settle ends those containers of which nobody can say more.
func (k *Keeper) settle() {
	k.mu.Lock()
	var lost []*box
	for _, b := range k.containers {
		if b.status().Lost {
			lost = append(lost, b)
		}
	}
	k.mu.Unlock()
	for _, b := range lost {
		k.ended(b)
	}
}

// remove forgets an ended container.
func (k *Keeper) remove(id string) error {
	k.mu.Lock()
	b := k.containers[id]
	k.mu.Unlock()
	if b == nil {
		return nil
	}
	if st := b.status(); !st.Exited {
		return wire.Errorf(wire.Precondition, "delete %s: it runs (process %d): %s", id, st.PID, wire.Precondition)
	}
	<-b.done
	if b.rec.Runtime != "" {
		k.forgetStock(b.rec, b.dir)
	}
	if err := removeDir(b.dir); err != nil {
		return err
	}
	k.mu.Lock()
	delete(k.containers, id)
	k.mu.Unlock()
	return nil
}

// find returns a known container.
func (k *Keeper) find(id string) (*box, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if b := k.containers[id]; b != nil {
		return b, nil
	}
	return nil, wire.Errorf(wire.NotFound, "container %s: %s", id, wire.NotFound)
}

// closeStdin ends a container's input for good.
func (b *box) closeStdin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stdin >= 0 {
		unix.Close(b.stdin)
		b.stdin = -1
	}
}
