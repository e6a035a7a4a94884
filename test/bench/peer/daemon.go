package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// daemon is a program that runs in a room until it is stopped.
type daemon struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

// start runs a program in the room and waits until up returns nil.
func (r *Room) daemon(ctx context.Context, env []string, up func(ctx context.Context) error, name string, args ...string) (*daemon, error) {
	d := &daemon{cmd: exec.Command(name, args...), log: filepath.Join(r.Dir, filepath.Base(name)+".log"), ended: make(chan struct{})}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	// Ctrl-C reaches a terminal's whole process group; who is to be cleaned up
	// must still answer then.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.Start(d.cmd); err != nil {
		return nil, err
	}
	go func() { _ = d.cmd.Wait(); close(d.ended) }()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := up(ctx)
		if err == nil {
			return d, nil
		}
		select {
		case <-d.ended:
			return nil, fmt.Errorf("%s ended: %s", filepath.Base(name), d.said())
		case <-ctx.Done():
			d.stop()
			return nil, fmt.Errorf("%s is not up: %w: %s", filepath.Base(name), err, d.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d *daemon) said() string {
	data, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return tail(string(data))
}

// stop ends the program, politely first.
func (d *daemon) stop() {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		_ = d.cmd.Process.Signal(s) // it may have ended
		select {
		case <-d.ended:
			return
		case <-time.After(20 * time.Second):
		}
	}
}

// program finds a peer's program where Debian puts it, before any other of the
// same name on the PATH.
func program(name string) (string, error) {
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
		if path := filepath.Join(dir, name); executable(path) {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed", name)
	}
	return path, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// closers are undone in reverse.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c closers) close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i]())
	}
	return errors.Join(errs...)
}
