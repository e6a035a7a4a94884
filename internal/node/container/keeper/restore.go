package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/criu"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// restore has CRIU make a container's processes of what a checkpoint wrote. The
// first of them is the keeper's child, because it is a subreaper, and everything
// else is as with a start: cgroup, pidfd, pipes, log, record.
//
// CRIU itself runs in the container's cgroup. So a record without a process is
// enough to find all of it, should this keeper be killed meanwhile.
func (k *Keeper) restore(b *box, req wire.Start, joins []int, stdio [3]int) (_ process, err error) {
	if req.OCI.Process.Terminal || req.Runtime != "" {
		return process{}, wire.Errorf(wire.Precondition, "restore with a terminal, or under a stock runtime: %s", wire.Precondition)
	}
	// Where a stock runtime would look for it: visible on the host while CRIU runs.
	root := filepath.Join(b.dir, bundleDir, rootfsDir)
	if err := os.MkdirAll(root, 0o711); err != nil {
		return process{}, fmt.Errorf("restore: %w", err)
	}
	if err := mountRoot(launch.Rootfs(req.Root), root); err != nil {
		return process{}, err
	}
	defer unix.Unmount(root, unix.MNT_DETACH)

	r := criu.Restore{
		Images: req.Restore.Images, Work: b.dir, Root: root, PIDFile: filepath.Join(b.dir, "pid"),
		External: req.Restore.External, KeepTCP: req.Restore.KeepTCP,
	}
	files, err := inherit(&r, req.OCI, stdio)
	defer func() { fileList(files).close() }()
	if err != nil {
		return process{}, err
	}
	defer func() {
		if err != nil {
			killAll(req.Cgroups)
		}
	}()
	// Nothing is reaped meanwhile: a process that ends at once would be gone
	// before we know that it is wanted.
	k.reaper.hold()
	defer k.reaper.release()
	// CRIU leaves cgroups alone and passes its own namespace on.
	in := within{joins: joins, namespace: slices.ContainsFunc(req.OCI.Linux.Namespaces, func(ns specs.LinuxNamespace) bool {
		return ns.Type == specs.CgroupNamespace
	})}
	if err := k.criu(req.Restore.Binary, r.Args(), files, in); err != nil {
		return process{}, because(err, filepath.Join(b.dir, criu.RestoreLog))
	}
	return k.takeChild(r.PIDFile)
}

// inherit gives a restore the pipes and namespaces that take the place of those
// in the images.
func inherit(r *criu.Restore, spec *specs.Spec, stdio [3]int) (files []*os.File, err error) {
	keys, err := criu.SavedDescriptors(r.Images)
	if err != nil {
		return nil, err
	}
	for i, f := range openFiles(stdio[:]) {
		switch {
		case f == nil:
		case keys[i] == "" || slices.Contains(r.Inherit, keys[i]):
			f.Close()
		default:
			files, r.Inherit = append(files, f), append(r.Inherit, keys[i])
		}
	}
	for _, ns := range spec.Linux.Namespaces {
		switch ns.Type {
		case specs.NetworkNamespace:
			f, err := network(ns.Path)
			if err != nil {
				return files, fmt.Errorf("restore: network namespace: %w", err)
			}
			files, r.Inherit = append(files, f), append(r.Inherit, criu.NetworkKey)
		case specs.IPCNamespace, specs.UTSNamespace:
			if ns.Path != "" {
				r.Join = append(r.Join, string(ns.Type)+":"+ns.Path)
			}
		}
	}
	return files, nil
}

// network opens a namespace, or makes one that has its loopback.
func network(path string) (f *os.File, err error) {
	if path != "" {
		return os.Open(path)
	}
	onOwnThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		if err = loopbackUp(); err == nil {
			f, err = os.Open("/proc/thread-self/ns/net")
		}
	})
	return f, err
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// onOwnThread calls f on a thread that ends with it, and with it what it joined.
// The main thread never ends, so it is not lent.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return // still locked
		}
		defer runtime.UnlockOSThread()
		onOwnThread(f)
	}()
	<-done
}
