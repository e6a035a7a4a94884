package keeper

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/pidfd"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// adopt takes over what the directory says of a former keeper's containers.
// from is what it passed on itself, if it did.
func (k *Keeper) adopt(from *inheritance) error {
	records, err := load(k.dir)
	if err != nil {
		k.log.Warn("some containers are unknown", "err", err)
	}
	for _, rec := range records {
		if rec.PID == 0 && !rec.Exited {
			// Its caller has been told of a failure, or is gone.
			k.log.Warn("clearing away a start that was cut short", "container", rec.ID)
			k.clear(rec)
			continue
		}
		b, err := k.newBox(rec)
		if err != nil {
			// Without its log, but not without us.
			k.log.Warn("log not opened", "container", rec.ID, "err", err)
			rec.Log = wire.Log{}
			if b, err = k.newBox(rec); err != nil {
				return err
			}
		}
		k.containers[rec.ID] = b
	}
	tails := k.finishWrite()
	for _, b := range k.containers {
		if b.rec.Exited {
			b.out.close()
			close(b.done)
			continue
		}
		if err := k.adoptBox(b, from.box(b.id), tails); err != nil {
			return fmt.Errorf("container %s: %w", b.id, err)
		}
	}
	k.adoptExecs(from)
	return nil
}

// clear takes away what a start that was cut short has made.
func (k *Keeper) clear(rec record) {
	if rec.Runtime != "" {
		k.forgetStock(rec, k.boxDir(rec.ID))
	}
	killAll(rec.Cgroups)
	k.holder.drop(rec.ID)
	if err := removeDir(k.boxDir(rec.ID)); err != nil {
		k.log.Warn("directory left behind", "container", rec.ID, "err", err)
	}
}

// tail is an unfinished line of a stream.
type tail struct {
	id     string
	stream streamName
	text   []byte
}

// finishWrite completes the write that a killed keeper was in.
func (k *Keeper) finishWrite() (t tail) {
	p, ok := k.journal.left()
	if !ok {
		return t
	}
	if b := k.containers[p.id]; b != nil && !b.rec.Exited {
		t = tail{p.id, p.stream, b.out.finish(p)}
		b.saveTail(p.stream, t.text)
	}
	k.journal.end(chunkSize)
	return t
}

// adoptBox goes on with a container that ran when its record was written. The
// loop does not run yet, so its functions are called from here.
func (k *Keeper) adoptBox(b *box, from *inherited, line tail) error {
	if from != nil {
		b.pidfd, b.master, b.stdin = from.Pidfd, from.Master, from.Stdin
		k.reaper.claim(b.rec.PID)
	} else if k.fromHolder(b) {
	} else if fd, err := pidfd.Open(b.rec.PID, b.rec.Born); err == nil {
		b.pidfd = fd
	} else {
		b.rec.Lost = true // unless the daemon hands back its pidfd
	}
	if !b.rec.Terminal {
		for _, name := range []streamName{stdout, stderr} {
			fd, err := from.output(name, b)
			if err != nil {
				return err
			}
			s := newStream(b, name, fd, true)
			s.tail = from.tail(name, b)
			if line.id == b.id && line.stream == name {
				s.tail = line.text
			}
			b.streams = append(b.streams, s)
			s.start()
		}
	} else if b.master >= 0 {
		b.startTerminal()
	}
	if b.rec.Lost {
		return nil
	}
	return k.loop.watch(b.pidfd, unix.EPOLLIN, func(uint32) {
		k.loop.forget(b.pidfd)
		go k.ended(b)
	})
}

// fromHolder takes what has no name from the holder. The pipes have one, and
// need only be held.
func (k *Keeper) fromHolder(b *box) bool {
	which, fds := k.holder.get(b.id)
	for _, one := range []struct {
		has bool
		to  *int
	}{{which.Pidfd, &b.pidfd}, {which.Master, &b.master}, {which.Stdin, &b.stdin}} {
		if one.has && len(fds) > 0 {
			*one.to, fds = fds[0], fds[1:]
		}
	}
	wire.CloseAll(fds)
	return b.pidfd >= 0
}

// startTerminal reads from a terminal that was handed over.
func (b *box) startTerminal() {
	s := newStream(b, stdout, b.master, false)
	s.tail = b.savedTail(stdout)
	b.streams = append(b.streams, s)
	s.start()
}

// takeBack receives what the daemon held for a former keeper.
func (k *Keeper) takeBack(h wire.Held, fds []int) error {
	defer func() { wire.CloseAll(fds) }()
	b, err := k.find(h.Status.ID)
	if err != nil {
		return err
	}
	next := func(has bool) int {
		if !has || len(fds) == 0 {
			return -1
		}
		fd := fds[0]
		fds = fds[1:]
		return fd
	}
	process, master, stdin := next(h.Pidfd), next(h.Master), next(h.Stdin)
	b.mu.Lock()
	if b.rec.Exited || b.ending {
		b.mu.Unlock()
		wire.CloseAll([]int{process, master, stdin})
		return nil
	}
	keep := func(mine *int, theirs int) bool {
		if *mine >= 0 || theirs < 0 {
			wire.CloseAll([]int{theirs})
			return false
		}
		*mine = theirs
		return true
	}
	found := keep(&b.pidfd, process)
	terminal := keep(&b.master, master)
	keep(&b.stdin, stdin)
	b.rec.Lost = b.pidfd < 0
	b.mu.Unlock()
	if terminal {
		if err := unix.SetNonblock(master, true); err != nil {
			return errors.Join(fmt.Errorf("terminal: %w", err))
		}
		k.loop.wait(b.startTerminal)
	}
	if found {
		return b.watches(func() { k.ended(b) })
	}
	return nil
}
