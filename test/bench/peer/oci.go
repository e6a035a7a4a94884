package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/test/bench/measure"
)

// OCI is a low-level runtime, runc or crun, that starts a container from a
// bundle prepared beforehand: no image, no network set up, and in the bundle
// that it makes itself no seccomp.
type OCI struct {
	Name    string
	Program string
	Note    string
	dir     string
	from    *thread // where its commands are started; nil is anywhere
	count   atomic.Int64
}

// NewOCI prepares a bundle below dir. A runtime that refuses hybrid cgroups is
// shown only those of version 1, and the note says so.
func NewOCI(ctx context.Context, dir, name string, im Image) (*OCI, error) {
	path, err := program(name)
	if err != nil {
		return nil, err
	}
	o := &OCI{Name: name, Program: path, Note: "prepared bundle: no image, network or seccomp", dir: filepath.Join(dir, name)}
	if err := o.bundle(ctx, im); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	_, refused := o.Once(ctx)
	if refused == nil {
		return o, nil
	}
	if o.from, err = newThread(hideUnified); err == nil {
		o.Note += "; sees cgroups of version 1 only, as it refuses the machine's hybrid ones"
		if _, err := o.Once(ctx); err == nil {
			return o, nil
		}
	}
	return nil, errors.Join(refused, o.Close())
}

// hideUnified gives the calling thread a mount namespace without the cgroups of
// version 2 that stand beside those of version 1.
func hideUnified() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH)
}

// bundle lets the runtime write its own configuration and changes only what runs.
func (o *OCI) bundle(ctx context.Context, im Image) error {
	root := filepath.Join(o.dir, "bundle", "rootfs")
	for _, d := range []string{"dev", "etc", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(im.Program)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, Tiny), data, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, o.Program, "spec")
	cmd.Dir = filepath.Dir(root)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s spec: %w: %s", o.Name, err, tail(string(out)))
	}
	path := filepath.Join(filepath.Dir(root), "config.json")
	if data, err = os.ReadFile(path); err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("%s spec: %w", o.Name, err)
	}
	spec.Process.Args, spec.Process.Terminal = []string{Tiny, "exit"}, false
	spec.Process.Rlimits = nil // raising them takes a capability that the machine may lack
	if data, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// Once starts a container and returns how many milliseconds its program took to
// be executed; deleting the container is not in them.
func (o *OCI) Once(ctx context.Context) (float64, error) {
	id := fmt.Sprintf("bench-%d-%d", os.Getpid(), o.count.Add(1))
	var took float64
	run := measure.Timed("", "", func(ctx context.Context) error {
		return o.run(ctx, "run", "--detach", "--bundle", filepath.Join(o.dir, "bundle"), id)
	})
	took, err := run.Once(ctx)
	return took, errors.Join(err, o.run(context.WithoutCancel(ctx), "delete", "--force", id))
}

func (o *OCI) run(ctx context.Context, args ...string) error {
	log := filepath.Join(o.dir, "log")
	all := append([]string{"--root", filepath.Join(o.dir, "state"), "--log", log}, args...)
	cmd := exec.CommandContext(ctx, o.Program, all...)
	start := cmd.Start
	if o.from != nil {
		start = func() error { return o.from.start(cmd) }
	}
	err := start() // without output: it would be the container's too
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		said, _ := os.ReadFile(log)
		return fmt.Errorf("%s %s: %w: %s", o.Name, args[0], err, tail(string(said)))
	}
	return nil
}

// Close deletes bundle and state.
func (o *OCI) Close() error {
	if o.from != nil {
		o.from.end()
	}
	return os.RemoveAll(o.dir)
}
