package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/launch"
	"github.com/sampan-cloud/sampan/internal/node/container/pidfd"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// A stock OCI runtime (runc, crun, runsc) makes the container's process and
// ends. The process then is the keeper's child, because it is a subreaper, and
// everything else is as on the native path: pidfd, pipes, log, record.
//
// In a container's directory are then, besides the record: bundle/config.json,
// bundle/rootfs (where its / is mounted while it exists) and the runtime's log.

// Below a container's directory.
const (
	bundleDir = "bundle"
	rootfsDir = "rootfs"
)

// stock runs one command of a container's runtime.
func (k *Keeper) stock(rec record, args ...string) error {
	return k.runStock(rec, false, [3]int{-1, -1, -1}, args...)
}

// runStock is stock for one that makes a process of the container, whose input and
// output are stdio. It is the keeper's own child, claimed so that the reaper leaves
// it alone.
func (k *Keeper) runStock(rec record, makes bool, stdio [3]int, args ...string) error {
	path, err := LookPath(rec.Binary)
	if err != nil {
		return wire.Errorf(wire.Precondition, "runtime %s: %v: %s", rec.Binary, err, wire.Precondition)
	}
	args = append([]string{path}, args...)
	if rec.Aside != "" {
		path, args = aside(rec.Aside, makes, args)
	}
	attr := os.ProcAttr{Dir: "/", Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	if makes {
		// What it makes is nobody's if the keeper dies meanwhile. The kernel means
		// the death of the thread that starts it.
		attr.Sys = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	files := openFiles(stdio[:])
	defer files.close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for i, f := range files {
		if f == nil {
			files[i] = null
		}
	}
	attr.Files = files
	var p *os.Process
	err = k.reaper.birth(func() (int, error) {
		var err error
		p, err = os.StartProcess(path, args, &attr)
		if err != nil {
			return 0, err
		}
		return p.Pid, nil
	})
	for i, f := range files {
		if f == null {
			files[i] = nil
		}
	}
	if err != nil {
		return fmt.Errorf("runtime %s: %w", rec.Binary, err)
	}
	state, err := p.Wait()
	k.reaper.forget(p.Pid)
	if err != nil {
		return fmt.Errorf("runtime %s: %w", rec.Binary, err)
	}
	if !state.Success() {
		return fmt.Errorf("runtime %s: %s", filepath.Base(rec.Binary), state)
	}
	return nil
}

// LookPath finds a program where an administrator installs one, whatever the
// PATH of the daemon is.
func LookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%q is not installed", name)
}

// stockArgs are the arguments that every command of a runtime begins with.
func stockArgs(dir string, words ...string) []string {
	return append([]string{
		"--root", filepath.Join(filepath.Dir(filepath.Dir(dir)), "runtime"),
		"--log", filepath.Join(dir, "runtime.log"), "--log-format", "json",
	}, words...)
}

// startStock makes a container's process through its runtime.
func (k *Keeper) startStock(b *box, req wire.Start, stdio [3]int) (_ process, err error) {
	bundle := filepath.Join(b.dir, bundleDir)
	rootfs := filepath.Join(bundle, rootfsDir)
	if err := os.MkdirAll(rootfs, 0o711); err != nil {
		return process{}, fmt.Errorf("bundle: %w", err)
	}
	defer func() {
		if err != nil {
			err = b.complain(err, req.OCI.Process)
			k.forgetStock(b.rec, b.dir)
		}
	}()
	spec := *req.OCI
	root := specs.Root{Path: rootfs}
	if spec.Root != nil {
		root.Readonly = spec.Root.Readonly
	}
	spec.Root = &root
	// Older runtimes refuse a newer version though they know all that is asked.
	spec.Version = "1.0.2"
	text, err := json.Marshal(&spec)
	if err != nil {
		return process{}, fmt.Errorf("bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600); err != nil {
		return process{}, fmt.Errorf("bundle: %w", err)
	}
	if err := mountRoot(launch.Rootfs(req.Root), rootfs); err != nil {
		return process{}, err
	}
	pidFile := filepath.Join(b.dir, "pid")
	args := stockArgs(b.dir, "create", "--bundle", bundle, "--pid-file", pidFile)
	if spec.Process.Terminal {
		return k.withConsole(b, func(console string) (process, error) {
			return k.createStock(b, req, stdio, pidFile, append(args, "--console-socket", console, req.ID))
		})
	}
	return k.createStock(b, req, stdio, pidFile, append(args, req.ID))
}

// createStock makes the process and lets it run.
func (k *Keeper) createStock(b *box, req wire.Start, stdio [3]int, pidFile string, args []string) (process, error) {
	if err := k.runStock(b.rec, true, stdio, args...); err != nil {
		return process{}, err
	}
	p, err := k.takeChild(pidFile)
	if err != nil {
		return process{}, err
	}
	b.rec.Cgroup, b.rec.Cgroups = cgroupOf(p.pid)
	b.rec.OOMBefore = oomKills(b.rec.Cgroups)
	if err := k.stock(b.rec, stockArgs(b.dir, "start", req.ID)...); err != nil {
		unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
		pidfd.ExitOf(p.pidfd)
		pidfd.Reap(p.pidfd)
		k.reaper.forget(p.pid)
		unix.Close(p.pidfd)
		return process{}, err
	}
	return p, nil
}

// takeChild claims the process whose PID a runtime has written down. Its parent
// has ended, so it is ours.
func (k *Keeper) takeChild(pidFile string) (process, error) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return process{}, fmt.Errorf("runtime tells no process: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return process{}, fmt.Errorf("runtime tells no process: %w", err)
	}
	k.reaper.claim(pid)
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		k.reaper.forget(pid)
		return process{}, fmt.Errorf("process %d of the runtime: %w", pid, err)
	}
	return process{pid: pid, pidfd: fd, master: -1}, nil
}

// execStock makes one more process through the container's runtime.
func (k *Keeper) execStock(b *box, req wire.Exec, stdio [3]int) (process, error) {
	f, err := os.CreateTemp(b.dir, "exec")
	if err != nil {
		return process{}, fmt.Errorf("exec: %w", err)
	}
	defer os.Remove(f.Name())
	defer os.Remove(f.Name() + ".pid")
	err = json.NewEncoder(f).Encode(req.Process)
	if err = errors.Join(err, f.Close()); err != nil {
		return process{}, fmt.Errorf("exec: %w", err)
	}
	rec := b.record()
	pidFile := f.Name() + ".pid"
	args := stockArgs(b.dir, "exec", "--detach", "--process", f.Name(), "--pid-file", pidFile)
	run := func(args []string) (process, error) {
		// Nothing is reaped meanwhile: a process that ends at once would be gone
		// before we know that it is wanted.
		k.reaper.hold()
		defer k.reaper.release()
		if err := k.runStock(rec, true, stdio, append(args, req.ID)...); err != nil {
			return process{}, b.complain(err, req.Process)
		}
		return k.takeChild(pidFile)
	}
	if req.Process.Terminal {
		return k.withConsole(b, func(console string) (process, error) { return run(append(args, "--console-socket", console)) })
	}
	return run(args)
}

// forgetStock has the runtime forget an ended container, of which dir is the
// directory.
func (k *Keeper) forgetStock(rec record, dir string) {
	if err := k.stock(rec, stockArgs(dir, "delete", "--force", rec.ID)...); err != nil {
		k.log.Debug("runtime does not delete", "container", rec.ID, "err", err)
	}
}

// updateStock changes limits through the container's runtime.
func (k *Keeper) updateStock(req wire.Control) error {
	b, err := k.find(req.ID)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(b.dir, "resources")
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	defer os.Remove(f.Name())
	err = json.NewEncoder(f).Encode(req.Resources)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	rec := b.record()
	if err := k.stock(rec, stockArgs(b.dir, "update", "--resources", f.Name(), req.ID)...); err != nil {
		return b.complain(err, nil)
	}
	return nil
}

// cgroupOf finds the cgroup that a runtime has put a process into, and its
// directories.
func cgroupOf(pid int) (path string, dirs []string) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return "", nil
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[2] == "/" {
			continue
		}
		for _, name := range append(strings.Split(strings.TrimPrefix(parts[1], "name="), ","), "") {
			dir := filepath.Join("/sys/fs/cgroup", name, parts[2])
			if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil && !slices.Contains(dirs, dir) {
				path, dirs = parts[2], append(dirs, dir)
			}
		}
	}
	slices.Sort(dirs)
	return path, dirs
}
