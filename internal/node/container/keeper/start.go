package keeper

import (
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/pidfd"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// process is one that a path (native or stock runtime) has started.
type process struct {
	pid, pidfd int
	master     int // its terminal, or -1
}

// start runs a container. joins are open cgroup files that its process joins by
// writing into them; they stay the caller's.
func (k *Keeper) start(req wire.Start, joins []int) (*box, error) {
	if err := k.reserve(req.ID); err != nil {
		return nil, err
	}
	b, err := k.startBox(req, joins)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.starting, req.ID)
	if err != nil {
		return nil, err
	}
	k.containers[req.ID] = b
	return b, nil
}

// reserve takes an ID, so that two starts of it do not meet.
func (k *Keeper) reserve(id string) error {
	if !validID(id) {
		return wire.Errorf(wire.Invalid, "container id %q: %s", id, wire.Invalid)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.starting[id] || k.containers[id] != nil {
		return wire.Errorf(wire.Exists, "container %s: %s", id, wire.Exists)
	}
	k.starting[id] = true
	return nil
}

func (k *Keeper) startBox(req wire.Start, joins []int) (*box, error) {
	if req.OCI == nil || req.OCI.Process == nil {
		return nil, wire.Errorf(wire.Invalid, "process: missing: %s", wire.Invalid)
	}
	terminal := req.OCI.Process.Terminal
	kept, err := k.keepFilter(req.Filter)
	if err != nil {
		return nil, err
	}
	b, err := k.newBox(record{
		Status:      wire.Status{ID: req.ID, Terminal: terminal, Once: req.StdinOnce, Cgroup: req.Cgroup, Cgroups: req.Cgroups, Runtime: req.Runtime, Binary: req.Binary},
		Log:         req.Log,
		Stdin:       req.Stdin,
		SharedPIDs:  !ownPIDs(req.OCI),
		Filter:      kept,
		FilterFlags: req.FilterFlags,
		Aside:       req.Aside,
	})
	if err != nil {
		return nil, describe(err)
	}
	if err := b.prepare(); err != nil {
		b.discard()
		return nil, err
	}
	stdio, outputs, err := b.makeStdio(req.Stdin, terminal)
	defer wire.CloseAll(stdio[:])
	if err != nil {
		b.discard()
		return nil, err
	}
	// Held before there is anything in them: the process may write and end before
	// we are killed.
	k.holder.put(b.handful(outputs))
	var p process
	began := time.Now()
	switch {
	case req.Restore != nil:
		p, err = k.restore(b, req, joins, stdio)
	case req.Runtime == "":
		p, err = k.startNative(req, joins, stdio)
	default:
		p, err = k.startStock(b, req, stdio)
	}
	if err == nil {
		err = k.began(b, p, began, outputs)
	}
	if err != nil {
		for _, fd := range outputs {
			unix.Close(fd)
		}
		b.discard()
		k.holder.drop(b.id)
		return nil, err
	}
	if terminal {
		outputs = map[streamName]int{stdout: p.master}
	}
	b.reads(req.Hold, outputs)
	if err := b.watches(func() { k.ended(b) }); err != nil {
		return nil, err
	}
	return b, nil
}

// prepare makes the box's directory, with a record that says a start has begun.
func (b *box) prepare() error {
	// What an earlier container of that name left is not ours to keep: the
	// keeper does not know it.
	if err := removeDir(b.dir); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return b.rec.save(b.dir)
}

// makeStdio opens what becomes the container's descriptors 0 to 2, and our ends
// of its outputs. With a terminal they are all its own affair.
func (b *box) makeStdio(stdin, terminal bool) (theirs [3]int, outputs map[streamName]int, err error) {
	theirs = [3]int{-1, -1, -1}
	if terminal {
		return theirs, nil, nil
	}
	outputs = map[streamName]int{}
	for i, name := range []streamName{stdout, stderr} {
		read, write, err := b.makePipe(name)
		if err != nil {
			return theirs, outputs, err
		}
		outputs[name], theirs[i+1] = read, write
	}
	if !stdin {
		theirs[0], err = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return theirs, outputs, err
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return theirs, outputs, fmt.Errorf("make input pipe: %w", err)
	}
	theirs[0], b.stdin = ends[0], apart(ends[1])
	return theirs, outputs, nil
}

// handful is what a holder should have of a container that is being started.
func (b *box) handful(outputs map[streamName]int) (wire.Held, []int) {
	h := wire.Held{Status: wire.Status{ID: b.id}}
	var fds []int
	add := func(has *bool, fd int, ok bool) {
		if *has = ok && fd >= 0; *has {
			fds = append(fds, fd)
		}
	}
	out, hasOut := outputs[stdout]
	err, hasErr := outputs[stderr]
	add(&h.Pidfd, b.pidfd, true)
	add(&h.Master, b.master, true)
	add(&h.Stdin, b.stdin, true)
	add(&h.Stdout, out, hasOut)
	add(&h.Stderr, err, hasErr)
	return h, fds
}

// began records that the container runs. Held first: a record of it says that
// nothing more can be lost.
func (k *Keeper) began(b *box, p process, at time.Time, outputs map[streamName]int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pidfd, b.master = p.pidfd, p.master
	b.rec.PID, b.rec.Started = p.pid, at
	if p.master >= 0 {
		// Reading must not block the loop; the daemon's duplicate shares the
		// flag and copes with it.
		if err := unix.SetNonblock(p.master, true); err != nil {
			return fmt.Errorf("start: terminal: %w", err)
		}
	}
	k.holder.put(b.handful(outputs))
	if st, err := pidfd.ReadStat(p.pid); err == nil {
		b.rec.Born = st.Born
	}
	return b.rec.save(b.dir)
}

// ownPIDs tells whether the container's first process is the first of a process
// namespace: then the kernel ends the others with it.
func ownPIDs(spec *specs.Spec) bool {
	if spec.Linux == nil {
		return false
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.PIDNamespace {
			return ns.Path == ""
		}
	}
	return false
}
