package keeper

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/criu"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// checkpoint has CRIU write a running container's processes into files. They go
// on afterwards, whatever comes of it.
func (k *Keeper) checkpoint(req wire.Checkpoint) error {
	b, err := k.find(req.ID)
	if err != nil {
		return err
	}
	rec := b.status()
	switch {
	case rec.Exited || rec.Lost || rec.PID == 0:
		return wire.Errorf(wire.Precondition, "it has ended: %s", wire.Precondition)
	case rec.Terminal:
		return wire.Errorf(wire.Precondition, "it has a terminal, which stays with the keeper: %s", wire.Precondition)
	}
	keys, external, err := criu.Descriptors(rec.PID, []string{b.inputName(), b.pipe(stdout), b.pipe(stderr)})
	if err != nil {
		return err
	}
	dump := criu.Dump{
		PID: rec.PID, Images: req.Images, External: append(external, req.External...), Frozen: req.Frozen, Freeze: req.Freeze,
	}
	if err := k.criu(req.Binary, dump.Args(), nil, within{}); err != nil {
		return because(err, filepath.Join(req.Images, criu.DumpLog))
	}
	return criu.SaveDescriptors(req.Images, keys)
}

// inputName is what a container has as its input.
func (b *box) inputName() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var st unix.Stat_t
	if b.stdin >= 0 && unix.Fstat(b.stdin, &st) == nil {
		return "pipe:[" + strconv.FormatUint(st.Ino, 10) + "]"
	}
	return os.DevNull
}

// because adds what CRIU wrote into its log to a failure.
func because(err error, log string) error {
	reason := criu.Reason(log)
	if reason == "" {
		return wire.Errorf(wire.Precondition, "%v: %s", err, wire.Precondition)
	}
	return wire.Errorf(wire.Precondition, "criu: %s: %s", reason, wire.Precondition)
}

// criu runs the program to its end. Its descriptors from 3 on are files; what it
// is started in, what it makes is in too.
func (k *Keeper) criu(program string, args []string, files []*os.File, in within) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	// What it says before it has a log. A file in memory: nobody need read it.
	memory, err := unix.MemfdCreate("criu", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("criu: %w", err)
	}
	said := os.NewFile(uintptr(memory), "what criu says")
	defer said.Close()
	attr := &os.ProcAttr{
		Dir: "/", Files: append([]*os.File{null, null, said}, files...),
		// It runs tar for what is in the container's tmpfs.
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	var p *os.Process
	err = k.reaper.birth(func() (int, error) {
		if p, err = in.start(program, args, attr); err != nil {
			return 0, err
		}
		return p.Pid, nil
	})
	if err != nil {
		return fmt.Errorf("criu: %w", err)
	}
	state, err := p.Wait()
	k.reaper.forget(p.Pid)
	if err != nil {
		return fmt.Errorf("criu: %w", err)
	}
	if !state.Success() {
		text := make([]byte, 500)
		n, _ := said.ReadAt(text, 0)
		return fmt.Errorf("criu: %s: %s", state, bytes.TrimSpace(text[:n]))
	}
	return nil
}
