package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Room is where one peer lives.
type Room struct {
	Name string // of the namespace
	Addr string // its address, reachable from the machine
	Dir  string // state
	Run  string // sockets, whose paths must be short

	outer  string  // the link's end on the machine
	inside *thread // in the network namespace
}

// NewRoom makes room number n (1 to 60) with its state below dir.
func NewRoom(dir, name string, n int) (*Room, error) {
	r := &Room{
		Name: fmt.Sprintf("bench-%d-%d", os.Getpid()%100000, n), Addr: fmt.Sprintf("198.19.%d.2", n),
		Dir: filepath.Join(dir, name), outer: fmt.Sprintf("bench%d", n),
	}
	if err := os.MkdirAll(r.Dir, 0o711); err != nil {
		return nil, err
	}
	run, err := os.MkdirTemp("/run", "bench")
	if err != nil {
		return nil, err
	}
	r.Run = run
	if err := r.build(n); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Room) build(n int) error {
	_ = ip("link", "del", r.outer) // of a run that was killed
	gateway := fmt.Sprintf("198.19.%d.1", n)
	for _, args := range [][]string{
		{"netns", "add", r.Name},
		{"link", "add", r.outer, "type", "veth", "peer", "name", "eth0", "netns", r.Name},
		{"addr", "add", gateway + "/24", "dev", r.outer},
		{"link", "set", r.outer, "up"},
		{"-n", r.Name, "link", "set", "lo", "up"},
		{"-n", r.Name, "addr", "add", r.Addr + "/24", "dev", "eth0"},
		{"-n", r.Name, "link", "set", "eth0", "up"},
		{"-n", r.Name, "route", "add", "default", "via", gateway},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return r.enter()
}

// enter starts the thread that is inside.
func (r *Room) enter() error {
	ns, err := os.Open("/run/netns/" + r.Name)
	if err != nil {
		return err
	}
	defer ns.Close()
	r.inside, err = newThread(func() error { return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET) })
	return err
}

// Start starts cmd inside.
func (r *Room) Start(cmd *exec.Cmd) error { return r.inside.start(cmd) }

// Do calls f inside: sockets that it makes belong there.
func (r *Room) Do(f func()) { r.inside.do(f) }

// Pin says which processors commands are started on from now on.
func (r *Room) Pin(processors []int) (err error) {
	var set unix.CPUSet
	for _, p := range processors {
		set.Set(p)
	}
	r.inside.do(func() { err = unix.SchedSetaffinity(0, &set) })
	if err != nil {
		return fmt.Errorf("processors %v: %w", processors, err)
	}
	return nil
}

// Exec runs a command inside and returns what it prints; what it says on its
// error output goes into the error.
func (r *Room) Exec(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second // after it was killed: a child may keep the output open
	cmd.Env = append(os.Environ(), env...)
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	err := r.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, tail(out.String()+said.String()))
	}
	return out.String(), nil
}

// Close takes the room away. Whoever lives there has ended.
func (r *Room) Close() error {
	if r.inside != nil {
		r.inside.end()
	}
	errs := []error{ip("netns", "del", r.Name), unmountBelow(r.Dir), unmountBelow(r.Run)}
	_ = ip("link", "del", r.outer) // it goes with the namespace, but a moment later
	if err := errors.Join(errs...); err != nil {
		return err // deleting through a mount would delete what is mounted
	}
	return errors.Join(os.RemoveAll(r.Dir), os.RemoveAll(r.Run))
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, tail(string(out)))
	}
	return nil
}

// unmountBelow takes away what a peer left at dir or below, the last mounted
// first.
func unmountBelow(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := strings.Split(string(data), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) > 4 && strings.HasPrefix(fields[4]+"/", dir+"/") {
			if err := unix.Unmount(fields[4], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("unmount %s: %w", fields[4], err)
			}
		}
	}
	return nil
}

// tail is the end of what a program said, where the reason usually is.
func tail(s string) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-600):]
}
