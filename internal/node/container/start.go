package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// Start runs the container up to its execve. A failure names the step, the path
// and the errno, and leaves nothing behind.
func (r *Runtime) Start(ctx context.Context, spec Spec) (Status, error) {
	st, err := r.start(ctx, spec)
	if err != nil {
		return Status{}, fmt.Errorf("start container %s: %w", spec.ID, err)
	}
	return st, nil
}

func (r *Runtime) start(ctx context.Context, spec Spec) (_ Status, err error) {
	if err := check(spec); err != nil {
		return Status{}, err
	}
	req, err := r.request(ctx, spec)
	if err != nil {
		return Status{}, err
	}
	u, err := r.reserve(spec.ID)
	if err != nil {
		return Status{}, err
	}
	defer func() {
		if err != nil {
			r.forget(u)
		}
	}()
	if err = r.vacant(spec); err != nil {
		return Status{}, err
	}
	if err = r.intend(spec.ID, cgroupPath(spec)); err != nil {
		return Status{}, err
	}
	made := spec.Runtime != "" // a stock runtime makes the cgroup; one that is killed may leave it
	defer func() {
		if err != nil && made {
			r.deleteCgroup(ctx, spec)
		} else {
			r.settled(spec.ID)
		}
	}()
	var joins []*os.File
	if spec.Runtime == "" {
		if joins, err = r.makeCgroup(ctx, spec, &req); err != nil {
			return Status{}, err
		}
		made = true
		defer closeFiles(joins)
	}
	if spec.Restore != nil {
		if err = r.restoring(ctx, spec, &req); err != nil {
			return Status{}, err
		}
	}
	var held wire.Held
	files, err := r.call(ctx, false, wire.CallStart, req, descriptors(joins), &held)
	if errors.Is(err, errGone) {
		files, err = r.survived(ctx, spec.ID, &held, err)
	}
	if err != nil {
		if ctx.Err() != nil {
			r.undo(ctx, spec.ID)
		}
		return Status{}, err
	}
	u.keep(held, files)
	u.mu.Lock()
	u.starting = false
	u.mu.Unlock()
	r.learn(held.Status)
	return statusOf(held.Status), nil
}

// survived asks the successor of a keeper that died over a start. One that was
// complete, but for the answer, is no failure; any other is undone by now.
func (r *Runtime) survived(ctx context.Context, id string, held *wire.Held, died error) ([]*os.File, error) {
	files, err := r.call(ctx, true, wire.CallHold, wire.Target{ID: id}, nil, held)
	if errors.Is(err, fault.NotFound) {
		return nil, died
	}
	return files, err
}

// vacant refuses a cgroup with processes: they are not this container's, and would
// be killed with it.
func (r *Runtime) vacant(spec Spec) error {
	group, err := r.cfg.Cgroups.Open(cgroupPath(spec))
	if errors.Is(err, fault.NotFound) {
		return nil
	} else if err != nil {
		return err
	}
	pids, err := group.Procs()
	if err == nil && len(pids) > 0 {
		err = fmt.Errorf("cgroup %s has processes: %w", group.Path(), fault.Exists)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// makeCgroup makes the container's cgroup and says in req where it is. The files
// are for its process to join it.
func (r *Runtime) makeCgroup(ctx context.Context, spec Spec, req *wire.Start) ([]*os.File, error) {
	group, err := r.cfg.Cgroups.Create(ctx, cgroupPath(spec), spec.OCI.Linux.Resources)
	if err != nil {
		return nil, err
	}
	joins, err := joinFiles(group)
	if err != nil {
		return nil, errors.Join(err, group.Delete(context.WithoutCancel(ctx)))
	}
	req.Cgroup = group.Path()
	for name, dir := range group.Shown() {
		req.CgroupMounts = append(req.CgroupMounts, wire.CgroupMount{Name: name, Source: dir})
		req.Cgroups = append(req.Cgroups, dir)
	}
	return joins, nil
}

// check refuses what no path can run, before anything is made.
func check(spec Spec) error {
	switch {
	case spec.ID == "":
		return fmt.Errorf("id: missing: %w", fault.Invalid)
	case strings.ContainsAny(spec.ID, "/\x00"): // it becomes a file's name
		return fmt.Errorf("id %q: %w", spec.ID, fault.Invalid)
	case spec.OCI == nil || spec.OCI.Process == nil:
		return fmt.Errorf("oci.process: missing: %w", fault.Invalid)
	case len(spec.OCI.Process.Args) == 0:
		return fmt.Errorf("oci.process.args: empty: %w", fault.Invalid)
	case spec.OCI.Linux == nil:
		return fmt.Errorf("oci.linux: missing: %w", fault.Invalid)
	case spec.Root.Base == "":
		return fmt.Errorf("root.base: missing: %w", fault.Invalid)
	}
	if lacks := launch.Lacks(spec.OCI); spec.Runtime == "" && len(lacks) > 0 {
		return fmt.Errorf("%s: %w by the native runtime", reason(lacks), fault.Unsupported)
	}
	return nil
}

// cgroupPath is the specification's, or one of the container's own.
func cgroupPath(spec Spec) string {
	if p := spec.OCI.Linux.CgroupsPath; p != "" {
		return p
	}
	return "/sampan/" + spec.ID
}

// request makes what the keeper is asked, without the cgroup.
func (r *Runtime) request(ctx context.Context, spec Spec) (wire.Start, error) {
	req := wire.Start{
		ID: spec.ID, OCI: spec.OCI, Root: wire.Root(spec.Root),
		Log:   wire.Log{Path: spec.Log, Size: spec.LogSize, Files: spec.LogFiles},
		Stdin: spec.Stdin, StdinOnce: spec.StdinOnce, Hold: spec.HoldOutput, Runtime: spec.Runtime,
	}
	if spec.Runtime != "" {
		err := r.stockRequest(ctx, spec, &req)
		return req, err
	}
	if spec.OCI.Linux.Seccomp == nil {
		return req, nil
	}
	var err error
	if req.Filter, req.FilterFlags, err = r.compile(spec.OCI.Linux.Seccomp); err != nil {
		return req, err
	}
	// The policy is several times as long as the rest, and has done its work.
	oci, linux := *spec.OCI, *spec.OCI.Linux
	linux.Seccomp = nil
	oci.Linux = &linux
	req.OCI = &oci
	return req, nil
}

func (r *Runtime) compile(policy *specs.LinuxSeccomp) ([]byte, uint, error) {
	program, err := r.programs.Compile(policy)
	if err != nil || len(program.Filter) == 0 {
		return nil, 0, err
	}
	size := len(program.Filter) * int(unsafe.Sizeof(unix.SockFilter{}))
	return unsafe.Slice((*byte)(unsafe.Pointer(&program.Filter[0])), size), program.Flags, nil
}

// joinFiles opens what the container's process needs to join its cgroup: the
// v1 files and, where there is a v2 hierarchy, the group's directory in it.
func joinFiles(group *cgroup.Group) ([]*os.File, error) {
	files, err := group.Join()
	if err != nil || len(files) == 1 {
		return files, err // one is the directory itself: v2
	}
	dir, err := group.Directory()
	if err != nil {
		closeFiles(files)
		return nil, err
	}
	if dir != nil {
		files = append(files, dir)
	}
	return files, nil
}

// undo ends a container that its caller no longer waits for.
func (r *Runtime) undo(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := r.Signal(ctx, id, int(unix.SIGKILL), true); err != nil {
		return // it never ran
	}
	if _, err := r.Wait(ctx, id); err == nil {
		_, _ = r.call(ctx, true, wire.CallDelete, wire.Target{ID: id}, nil, nil)
	}
}

// deleteCgroup removes the cgroup of a failed start, whatever becomes of the
// caller. A stock runtime that was killed may have left a process in it that it
// has not written down yet, and that waits for ever to be told to go on.
func (r *Runtime) deleteCgroup(ctx context.Context, spec Spec) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := r.cfg.Cgroups.Clear(ctx, cgroupPath(spec)); err != nil {
		r.log.Warn("cgroup left behind", "cgroup", cgroupPath(spec), "err", err)
		return
	}
	r.settled(spec.ID)
}

// Delete forgets an ended container and removes its cgroup. Deleting an unknown
// container is not an error.
func (r *Runtime) Delete(ctx context.Context, id string) error {
	u := r.unit(id, false)
	if u == nil {
		return nil
	}
	u.mu.Lock()
	st := u.status
	u.mu.Unlock()
	// The cgroup first: the keeper's record is how a later call finds it, should
	// this one be cut short. A stock runtime removes its own and then misses none.
	if st.Exited && st.Cgroup != "" {
		if err := r.cfg.Cgroups.Remove(ctx, st.Cgroup); err != nil {
			return fmt.Errorf("delete container %s: %w", id, err)
		}
	}
	if _, err := r.call(ctx, true, wire.CallDelete, wire.Target{ID: id}, nil, nil); err != nil && !errors.Is(err, fault.NotFound) {
		return fmt.Errorf("delete container %s: %w", id, err)
	}
	r.forget(u)
	return nil
}
