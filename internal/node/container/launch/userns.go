package launch

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// userns is a user namespace and the identities it maps.
type userns struct {
	file       *os.File // nil when another descriptor stands for it
	uids, gids []specs.LinuxIDMapping
}

// newUserns makes a user namespace with the given maps.
//
// It is made by a child that ends at once. A dead child that has not been waited
// for still has its user namespace and its uid_map, which is all we need.
func newUserns(uids, gids []specs.LinuxIDMapping) (*userns, error) {
	if len(uids) == 0 || len(gids) == 0 {
		return nil, fmt.Errorf("user namespace without uid and gid mappings: %w", fault.Invalid)
	}
	t, err := newTable(1, 1024)
	if err != nil {
		return nil, err
	}
	defer t.close()
	t.call("exit", "", unix.SYS_EXIT_GROUP, 0)
	pidfd := place(t, int32(-1))
	t.hdr.clone = put(t, cloneArgs{
		flags: unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND | unix.CLONE_NEWUSER,
		pidfd: uint64(uintptr(unsafe.Pointer(pidfd))),
	})
	t.hdr.cloneLen = unsafe.Sizeof(cloneArgs{})
	pid := enter(t.hdr)
	if pid < 0 {
		return nil, failed("clone3", "user namespace", unix.Errno(-pid))
	}
	p := &Process{PID: int(pid), PIDFD: os.NewFile(uintptr(*pidfd), "pidfd")}
	defer p.reap()
	for _, m := range []struct {
		name string
		ids  []specs.LinuxIDMapping
	}{{"uid_map", uids}, {"gid_map", gids}} {
		path := fmt.Sprintf("/proc/%d/%s", pid, m.name)
		if err := os.WriteFile(path, []byte(mapText(m.ids)), 0); err != nil {
			return nil, failed("write", m.name, err)
		}
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
	if err != nil {
		return nil, failed("open", "user namespace", err)
	}
	return &userns{file: f, uids: uids, gids: gids}, nil
}

func mapText(ids []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, m := range ids {
		fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return b.String()
}

// openUserns opens an existing one. The maps are those of the specification:
// the kernel tells them only to processes inside.
func openUserns(path string, uids, gids []specs.LinuxIDMapping) (*userns, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, failed("open", path, err)
	}
	return &userns{file: f, uids: uids, gids: gids}, nil
}

func (u *userns) close() {
	if u.file != nil {
		_ = u.file.Close()
	}
}

// hostID translates an identity inside to the host's. One without a mapping stays.
func hostID(ids []specs.LinuxIDMapping, id uint32) uint32 {
	for _, m := range ids {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + id - m.ContainerID
		}
	}
	return id
}

// mapMount makes a detached mount show its owners as the namespace maps them.
func (u *userns) mapMount(fd int, path string, recursive bool) error {
	err := attributes(fd, path, recursive, unix.MountAttr{
		Attr_set:  unix.MOUNT_ATTR_IDMAP,
		Userns_fd: uint64(u.file.Fd()),
	})
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%s: its filesystem cannot show other owners to a user namespace: %w: %w", path, fault.Precondition, err)
	}
	return err
}

// mountMapped is the overlay for a user namespace. Overlay itself cannot be
// mapped, its layers can: each is given as a mapped detached mount (which
// overlay takes since Linux 6.15). The writable layer must not be mapped: what
// the container writes is owned on disk by the host's identities, and its top
// directory has to be, too.
func (r Rootfs) mountMapped(users *userns) (int, error) {
	lower := make([]string, 0, len(r.Lower))
	for _, l := range r.Lower {
		fd, err := openTree(r.abs(l), false)
		if err != nil {
			return -1, err
		}
		defer unix.Close(fd)
		if err := users.mapMount(fd, r.abs(l), false); err != nil {
			return -1, err
		}
		lower = append(lower, fmt.Sprintf("/proc/self/fd/%d", fd))
	}
	if r.Upper != "" {
		dir := r.abs(r.Upper)
		if err := os.Lchown(dir, int(hostID(users.uids, 0)), int(hostID(users.gids, 0))); err != nil {
			return -1, failed("chown", dir, err)
		}
	}
	return r.overlay(lower)
}

// CheckUsers tells whether this machine can run a container in a user namespace
// over layers that lie on the filesystem of dir: nil means that it can.
func CheckUsers(dir string) error {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1 << 16, Size: 1 << 16}}
	users, err := newUserns(ids, ids)
	if err != nil {
		return fmt.Errorf("user namespaces: %w: %w", fault.Precondition, err)
	}
	defer users.close()
	temp, err := os.MkdirTemp(dir, ".users-") // overlay wants two layers
	if err != nil {
		return fmt.Errorf("user namespaces: %w", err)
	}
	defer os.RemoveAll(temp)
	root := Rootfs{Base: temp, Lower: []string{"a", "b"}}
	for _, l := range root.Lower {
		if err := os.Mkdir(root.abs(l), 0o700); err != nil {
			return fmt.Errorf("user namespaces: %w", err)
		}
	}
	fd, err := root.mountMapped(users)
	if err != nil {
		return fmt.Errorf("user namespaces need an overlay over mapped layers, which Linux has since 6.15: %w: %w", fault.Precondition, err)
	}
	return unix.Close(fd)
}
