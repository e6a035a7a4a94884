package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/base/runfs"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
)

const nsDir = "ns"

// namespaces are those that pods' containers share. Each is pinned by a bind
// mount of its file, so that it lives without a process.
type namespaces struct {
	dir  string
	all  sync.RWMutex // for writing: all of them go
	pods sync.Map     // pod → *sync.Mutex, while one of it is made or dropped
}

// lock lets nobody else make or drop this pod's. Others' are made meanwhile: the
// kernel waits for a grace period here and there.
func (n *namespaces) lock(pod string) (unlock func()) {
	n.all.RLock()
	mine := new(sync.Mutex)
	mine.Lock()
	for {
		other, taken := n.pods.LoadOrStore(pod, mine)
		if !taken {
			break
		}
		other.(*sync.Mutex).Lock() // until it is done
		other.(*sync.Mutex).Unlock()
	}
	return func() {
		n.pods.Delete(pod)
		mine.Unlock()
		n.all.RUnlock()
	}
}

func newNamespaces(dir string) *namespaces { return &namespaces{dir: dir} }

// prepare mounts the directory for the pins, private so that no pin spreads to
// another mount namespace and stays there.
func (n *namespaces) prepare() error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return fmt.Errorf("pod namespaces: %w", err)
	}
	// Of two daemons that start at once one mounts. The lock goes with the file.
	above, err := os.Open(filepath.Dir(n.dir))
	if err != nil {
		return fmt.Errorf("pod namespaces: %w", err)
	}
	defer above.Close()
	if err := unix.Flock(int(above.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("pod namespaces: lock %s: %w", above.Name(), err)
	}
	if runfs.Mounted(n.dir) {
		return nil
	}
	if err := unix.Mount("tmpfs", n.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700,size=16m"); err != nil {
		return fmt.Errorf("pod namespaces: mount tmpfs on %s: %w", n.dir, err)
	}
	if err := unix.Mount("", n.dir, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("pod namespaces: make %s private: %w", n.dir, err)
	}
	return nil
}

// Namespaces makes the namespaces that the containers of a pod share and that
// live without a process, with the host name and sysctls set. Those of a known
// pod are returned as they are.
func (r *Runtime) Namespaces(_ context.Context, pod string, want NamespaceRequest) (Namespaces, error) {
	ns, err := r.ns.make(pod, want)
	if err != nil {
		return Namespaces{}, fmt.Errorf("namespaces of pod %s: %w", pod, err)
	}
	return ns, nil
}

// ReleaseNamespaces lets go of a pod's. Repeating it is not an error.
func (r *Runtime) ReleaseNamespaces(_ context.Context, pod string) error {
	if err := r.ns.release(pod); err != nil {
		return fmt.Errorf("release namespaces of pod %s: %w", pod, err)
	}
	return nil
}

func (n *namespaces) make(pod string, want NamespaceRequest) (Namespaces, error) {
	if pod == "" || strings.ContainsAny(pod, "/\x00") || pod == "." || pod == ".." {
		return Namespaces{}, fmt.Errorf("pod %q: %w", pod, fault.Invalid)
	}
	defer n.lock(pod)()
	if want.Net && len(want.UIDs) == 0 {
		return Namespaces{}, fmt.Errorf("a network namespace without a user namespace to own it: %w", fault.Invalid)
	}
	dir := filepath.Join(n.dir, pod)
	var ns Namespaces
	for kind, path := range map[string]*string{"ipc": &ns.IPC, "uts": &ns.UTS, "net": &ns.Net, "user": &ns.User} {
		if slices.Contains(want.kinds(), kind) {
			*path = filepath.Join(dir, kind)
		}
	}
	// The directory gets its name last: one that is there is whole.
	if _, err := os.Stat(dir); err == nil {
		return ns, nil
	}
	aside := n.aside(pod)
	if err := dropPins(aside); err != nil {
		return Namespaces{}, err
	}
	if err := os.Mkdir(aside, 0o700); err != nil {
		return Namespaces{}, err
	}
	made := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it what it
		// was a member of.
		runtime.LockOSThread()
		made <- pinNew(aside, want)
	}()
	err := <-made
	if err == nil {
		err = os.Rename(aside, dir)
	}
	if err != nil {
		return Namespaces{}, errors.Join(err, dropPins(aside))
	}
	return ns, nil
}

// aside is where a pod's are until all of them are there.
func (n *namespaces) aside(pod string) string { return filepath.Join(n.dir, ".making-"+pod) }

// kinds are the namespaces asked for, as /proc names them.
func (want NamespaceRequest) kinds() []string {
	var kinds []string
	for kind, asked := range map[string]bool{
		"ipc": want.IPC, "uts": want.UTS, "net": want.Net, "user": len(want.UIDs) > 0,
	} {
		if asked {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// pinNew puts the calling thread into new namespaces, sets them up and pins them.
func pinNew(dir string, want NamespaceRequest) error {
	// What to bind: the thread's own, or for a user namespace, which a thread
	// cannot enter, its file.
	source := map[string]string{}
	for _, kind := range want.kinds() {
		source[kind] = "/proc/thread-self/ns/" + kind
	}
	if len(want.UIDs) > 0 {
		users, err := enterOwned(want)
		if err != nil {
			return err
		}
		defer users.Close()
		source["user"] = fmt.Sprintf("/proc/self/fd/%d", descriptor(users))
	} else if err := enterNew(want); err != nil {
		return err
	}
	if want.UTS && want.Hostname != "" {
		if err := unix.Sethostname([]byte(want.Hostname)); err != nil {
			return fmt.Errorf("host name %q: %w", want.Hostname, err)
		}
	}
	for kind, from := range source {
		pin := filepath.Join(dir, kind)
		f, err := os.OpenFile(pin, os.O_CREATE|os.O_RDONLY, 0o600)
		if err != nil {
			return err
		}
		f.Close()
		if err := unix.Mount(from, pin, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("pin %s namespace on %s: %w", kind, pin, err)
		}
	}
	// Last, as it may take the thread's privileges.
	return setSysctls(want)
}

func enterNew(want NamespaceRequest) error {
	flags := 0
	if want.IPC {
		flags |= unix.CLONE_NEWIPC
	}
	if want.UTS {
		flags |= unix.CLONE_NEWUTS
	}
	if flags == 0 {
		return nil
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	return nil
}

// enterOwned makes a user namespace and those that belong to it, and enters the
// latter.
func enterOwned(want NamespaceRequest) (users *os.File, err error) {
	var kinds []specs.LinuxNamespaceType
	for kind, asked := range map[specs.LinuxNamespaceType]bool{
		specs.IPCNamespace: want.IPC, specs.UTSNamespace: want.UTS, specs.NetworkNamespace: want.Net,
	} {
		if asked {
			kinds = append(kinds, kind)
		}
	}
	files, err := launch.NewOwned(want.UIDs, want.GIDs, kinds...)
	if err != nil {
		return nil, err
	}
	for kind, f := range files {
		if kind == specs.UserNamespace {
			continue
		}
		if e := unix.Setns(descriptor(f), 0); e != nil && err == nil {
			err = fmt.Errorf("join new %s namespace: %w", kind, e)
		}
		f.Close()
	}
	if err != nil {
		files[specs.UserNamespace].Close()
		return nil, err
	}
	return files[specs.UserNamespace], nil
}

func (n *namespaces) release(pod string) error {
	if pod == "" || strings.ContainsAny(pod, "/\x00") {
		return fmt.Errorf("pod %q: %w", pod, fault.Invalid)
	}
	defer n.lock(pod)()
	// A daemon killed while it made them left them aside.
	return errors.Join(dropPins(n.aside(pod)), dropPins(filepath.Join(n.dir, pod)))
}

// dropPins unmounts and removes what pins a pod's namespaces.
func dropPins(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		pin := filepath.Join(dir, e.Name())
		if err := unix.Unmount(pin, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			return fmt.Errorf("unmount %s: %w", pin, err)
		}
	}
	return os.RemoveAll(dir)
}

// close unmounts everything.
func (n *namespaces) close() error {
	n.all.Lock()
	defer n.all.Unlock()
	entries, err := os.ReadDir(n.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := dropPins(filepath.Join(n.dir, e.Name())); err != nil {
			return err
		}
	}
	if runfs.Mounted(n.dir) {
		if err := unix.Unmount(n.dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", n.dir, err)
		}
	}
	return nil
}

// UserNamespaces tells why containers cannot have user namespaces over layers on
// the filesystem of dir; nil means that they can.
func (r *Runtime) UserNamespaces(dir string) error { return launch.CheckUsers(dir) }
