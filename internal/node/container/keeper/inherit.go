package keeper

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// An upgrade keeps the process and changes its program: PID, children and
// descriptors stay. What the new program must know of them is in a file in
// memory, whose descriptor an environment variable names.
const inheritVar = "SAMPAN_KEEPER_STATE"

// inheritance is what a keeper passes on to itself.
type inheritance struct {
	Lock     int                   `json:"lock"`
	Listener int                   `json:"listener"`
	Boxes    map[string]*inherited `json:"boxes"`
	LastExec int                   `json:"lastExec"`
	Execs    map[string]struct {
		PID   int `json:"pid"`
		Pidfd int `json:"pidfd"`
	} `json:"execs"`
}

// inherited is a running container's part.
type inherited struct {
	Pidfd   int                   `json:"pidfd"`
	Master  int                   `json:"master"`
	Stdin   int                   `json:"stdin"`
	Outputs map[streamName]int    `json:"outputs"`
	Tails   map[streamName][]byte `json:"tails"`
}

// box returns what there is for a container. Nobody has passed on anything to
// a nil inheritance.
func (i *inheritance) box(id string) *inherited {
	if i == nil {
		return nil
	}
	return i.Boxes[id]
}

// output returns the reading end of a stream, opened anew if need be.
func (i *inherited) output(name streamName, b *box) (int, error) {
	if i != nil {
		if fd, ok := i.Outputs[name]; ok {
			return fd, nil
		}
	}
	return openPipe(b.pipe(name))
}

// tail returns the unfinished line of a stream, which a killed keeper has left in
// a file.
func (i *inherited) tail(name streamName, b *box) []byte {
	if i == nil {
		return b.savedTail(name)
	}
	return i.Tails[name]
}

// takeInheritance reads what this process was told by the program it ran before.
func takeInheritance() (*inheritance, error) {
	v := os.Getenv(inheritVar)
	if v == "" {
		return nil, nil
	}
	os.Unsetenv(inheritVar)
	fd, err := strconv.Atoi(v)
	if err != nil {
		return nil, fmt.Errorf("keeper: %s=%q: %w", inheritVar, v, err)
	}
	f := os.NewFile(uintptr(fd), "inheritance")
	defer f.Close()
	var i inheritance
	if err := json.NewDecoder(f).Decode(&i); err != nil {
		return nil, fmt.Errorf("keeper: upgrade: %w", err)
	}
	for _, fd := range i.descriptors() {
		unix.CloseOnExec(fd)
	}
	return &i, nil
}

func (i *inheritance) descriptors() []int {
	fds := []int{i.Lock, i.Listener}
	for _, b := range i.Boxes {
		fds = append(fds, b.Pidfd, b.Master, b.Stdin)
		for _, fd := range b.Outputs {
			fds = append(fds, fd)
		}
	}
	for _, e := range i.Execs {
		fds = append(fds, e.Pidfd)
	}
	open := fds[:0]
	for _, fd := range fds {
		if fd >= 0 {
			open = append(open, fd)
		}
	}
	return open
}

// execAnew goes on as another program. It returns only if that fails.
func (k *Keeper) execAnew(binary string, lock, listener *os.File) error {
	if binary == "" {
		binary = "/proc/self/exe"
	}
	// No process is being made, and none is being seen off.
	k.work.Lock()
	defer k.work.Unlock()
	var failure error
	// On the loop, so that no output is under way.
	k.loop.wait(func() {
		i := k.bequeath(number(lock), number(listener))
		failure = i.exec(binary)
	})
	return failure
}

// bequeath collects what there is to pass on.
func (k *Keeper) bequeath(lock, listener int) *inheritance {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := &inheritance{Lock: lock, Listener: listener, Boxes: map[string]*inherited{}, LastExec: k.lastExec}
	for id, b := range k.containers {
		b.mu.Lock()
		if !b.rec.Exited {
			own := &inherited{Pidfd: b.pidfd, Master: b.master, Stdin: b.stdin, Outputs: map[streamName]int{}, Tails: map[streamName][]byte{}}
			for _, s := range b.streams {
				if s.own && s.open {
					own.Outputs[s.name] = s.fd
					own.Tails[s.name] = s.tail
				}
			}
			i.Boxes[id] = own
		}
		b.mu.Unlock()
	}
	i.Execs = map[string]struct {
		PID   int `json:"pid"`
		Pidfd int `json:"pidfd"`
	}{}
	for key, e := range k.execs {
		x := i.Execs[key]
		x.PID, x.Pidfd = e.pid, e.pidfd
		i.Execs[key] = x
	}
	return i
}

// exec replaces the program.
func (i *inheritance) exec(binary string) error {
	memory, err := unix.MemfdCreate("keeper-state", 0)
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	f := os.NewFile(uintptr(memory), "inheritance")
	defer f.Close()
	if err := json.NewEncoder(f).Encode(i); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	fds := i.descriptors()
	for _, fd := range fds {
		unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
	env := append(os.Environ(), inheritVar+"="+strconv.Itoa(memory))
	err = syscall.Exec(binary, os.Args, env)
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fmt.Errorf("upgrade to %s: %w", binary, err)
}

// number returns a file's descriptor without making it blocking, as Fd does.
func number(f *os.File) (n int) {
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n = int(fd) })
	}
	return n
}
