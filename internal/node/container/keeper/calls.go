package keeper

import (
	"encoding/json"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// out are descriptors that go with an answer. done is called after it was sent.
type out struct {
	fds  []int
	done func()
}

func (o out) after() {
	if o.done != nil {
		o.done()
	}
}

// enter keeps the keeper from turning into another program until leave is called,
// for calls of which nobody could tell whether they were done. They are refused
// while it does.
func (k *Keeper) enter(call string) (leave func(), err error) {
	switch call {
	case wire.CallStart, wire.CallExec, wire.CallCheckpoint:
		if !k.work.TryRLock() {
			return func() {}, wire.Errorf(wire.Again, "the keeper turns into another program")
		}
		return k.work.RUnlock, nil
	}
	return func() {}, nil
}

// call does what one message asks.
func (k *Keeper) call(c *client, m wire.Message, fds []int) (any, out, error) {
	if m.Call == wire.CallStart || m.Call == wire.CallExec {
		k.slots <- struct{}{}
		defer func() { <-k.slots }()
	}
	switch m.Call {
	case wire.CallHello:
		return wire.Hello{Version: wire.Version, PID: unix.Getpid(), Build: k.build}, out{}, nil
	case wire.CallStart:
		return k.callStart(m, fds)
	case wire.CallExec:
		return k.callExec(m, fds)
	case wire.CallCheckpoint:
		return with(m, func(req wire.Checkpoint) (any, error) { return nil, k.checkpoint(req) })
	case wire.CallReaped:
		return with(m, func(t wire.Target) (any, error) { return k.reaped(t.ID, c.gone) })
	case wire.CallAttach:
		return k.callAttach(m)
	case wire.CallDetach:
		return with(m, func(t wire.Target) (any, error) { k.detach(t.ID); return nil, nil })
	case wire.CallStdin:
		return k.onBox(m, func(b *box) error {
			b.closeStdin()
			k.holder.renew(b) // else the input has not ended
			return nil
		})
	case wire.CallReopen:
		return k.onBox(m, func(b *box) (err error) {
			b.loop.wait(func() { err = b.out.reopen() })
			return err
		})
	case wire.CallDelete:
		return with(m, func(t wire.Target) (any, error) { return nil, k.remove(t.ID) })
	case wire.CallHold:
		return k.callHold(m)
	case wire.CallReturn:
		return with(m, func(h wire.Held) (any, error) { return nil, k.takeBack(h, dupAll(fds)) })
	case wire.CallList:
		return with(m, func(l wire.List) (any, error) { return k.list(l), nil })
	case wire.CallControl:
		return with(m, func(r wire.Control) (any, error) { return nil, k.updateStock(r) })
	case wire.CallUpgrade:
		return with(m, func(u wire.Upgrade) (any, error) {
			request := upgrade{binary: u.Binary, failed: make(chan error, 1)}
			k.upgrade <- request
			return nil, <-request.failed // else the connection ends with this program
		})
	case wire.CallQuit:
		close(k.quit)
		return nil, out{}, nil
	}
	return nil, out{}, wire.Errorf(wire.Unsupported, "call %q: %s by this keeper", m.Call, wire.Unsupported)
}

// with decodes a message's body for f.
func with[T any](m wire.Message, f func(T) (any, error)) (any, out, error) {
	var body T
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return nil, out{}, wire.Errorf(wire.Invalid, "%s: %v: %s", m.Call, err, wire.Invalid)
	}
	answer, err := f(body)
	return answer, out{}, err
}

// onBox has f act on the container that a message names.
func (k *Keeper) onBox(m wire.Message, f func(*box) error) (any, out, error) {
	return with(m, func(t wire.Target) (any, error) {
		b, err := k.find(t.ID)
		if err != nil {
			return nil, err
		}
		return nil, f(b)
	})
}

func (k *Keeper) callStart(m wire.Message, fds []int) (any, out, error) {
	var b *box
	if _, _, err := with(m, func(req wire.Start) (_ any, err error) {
		b, err = k.start(req, fds)
		return nil, err
	}); err != nil {
		return nil, out{}, err
	}
	held, handed := b.held()
	return held, out{fds: handed, done: func() { wire.CloseAll(handed) }}, nil
}

func (k *Keeper) callHold(m wire.Message) (any, out, error) {
	var o out
	answer, _, err := with(m, func(t wire.Target) (any, error) {
		b, err := k.find(t.ID)
		if err != nil {
			return nil, err
		}
		held, dups := b.held()
		o = out{fds: dups, done: func() { wire.CloseAll(dups) }}
		return held, nil
	})
	return answer, o, err
}

func (k *Keeper) callExec(m wire.Message, fds []int) (any, out, error) {
	var o out
	answer, _, err := with(m, func(req wire.Exec) (any, error) {
		if req.Joins < 0 || req.Joins > len(fds) {
			return nil, wire.Errorf(wire.Invalid, "exec: %d joins, %d descriptors: %s", req.Joins, len(fds), wire.Invalid)
		}
		stdio, rest := [3]int{-1, -1, -1}, fds[req.Joins:]
		for i, has := range []bool{req.Stdin, req.Stdout, req.Stderr} {
			if has && len(rest) > 0 {
				stdio[i], rest = rest[0], rest[1:]
			}
		}
		e, master, err := k.exec(req, fds[:req.Joins], stdio)
		if err != nil {
			return nil, err
		}
		o.fds = []int{e.pidfd}
		if master >= 0 {
			o.fds = append(o.fds, master)
			o.done = func() { unix.Close(master) } // the daemon's alone
		}
		return wire.Started{Exec: e.key, PID: e.pid}, nil
	})
	return answer, o, err
}

// callAttach makes a pipe for each stream and hands out the reading ends.
func (k *Keeper) callAttach(m wire.Message) (any, out, error) {
	var o out
	answer, _, err := with(m, func(req wire.Attach) (any, error) {
		b, err := k.find(req.ID)
		if err != nil {
			return nil, err
		}
		reads, err := b.attach(req)
		o.fds, o.done = reads, func() { wire.CloseAll(reads) }
		return nil, err
	})
	return answer, o, err
}

func (k *Keeper) detach(key string) {
	k.loop.wait(func() {
		for _, b := range k.boxes() {
			b.taps.dropKey(key)
		}
	})
}

func (k *Keeper) list(l wire.List) []wire.Status {
	if l.Settle {
		k.settle()
	}
	all := []wire.Status{}
	for _, b := range k.boxes() {
		all = append(all, b.status())
	}
	return all
}

func (k *Keeper) boxes() []*box {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]*box, 0, len(k.containers))
	for _, b := range k.containers {
		all = append(all, b)
	}
	return all
}

// dupAll duplicates descriptors that the caller closes.
func dupAll(fds []int) []int {
	dups := make([]int, len(fds))
	for i, fd := range fds {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			n = -1
		}
		dups[i] = n
	}
	return dups
}
