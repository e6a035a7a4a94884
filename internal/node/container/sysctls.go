package container

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// setSysctls writes those that the namespaces hold; the thread is in them.
func setSysctls(want NamespaceRequest) error {
	if len(want.Sysctls) > 0 && len(want.UIDs) > 0 {
		// Those of an IPC namespace may be written by the root of the user namespace
		// that owns it, and by nobody else, not even the host's. Only the calling
		// thread changes its user, and it ends after this.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keepID, rootOf(want.UIDs), keepID); errno != 0 {
			return fmt.Errorf("become root of the user namespace: %w", errno)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Sysctls)) {
		if err := namespaced(key, want); err != nil {
			return err
		}
		// A key is written with dots or with slashes; then dots belong to names.
		path := key
		if !strings.Contains(key, "/") {
			path = strings.ReplaceAll(key, ".", "/")
		}
		if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(want.Sysctls[key]), 0); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("sysctl %s: this kernel has none of that name: %w", key, fault.Invalid)
			}
			return fmt.Errorf("sysctl %s=%q: %w: %w", key, want.Sysctls[key], fault.Invalid, err)
		}
	}
	return nil
}

// keepID leaves a user ID as it is.
const keepID = ^uintptr(0)

// rootOf is the host's name for a user namespace's root.
func rootOf(ids []specs.LinuxIDMapping) uintptr {
	for _, m := range ids {
		if m.ContainerID == 0 {
			return uintptr(m.HostID)
		}
	}
	return keepID
}

// namespaced refuses a sysctl that would change the host.
func namespaced(key string, want NamespaceRequest) error {
	name := strings.ReplaceAll(key, "/", ".")
	switch {
	case strings.Contains(name, ".."):
	case want.UTS && (name == "kernel.hostname" || name == "kernel.domainname"):
		return nil
	case want.IPC && (strings.HasPrefix(name, "fs.mqueue.") || slices.Contains(ipcSysctls[:], name)):
		return nil
	}
	return fmt.Errorf("sysctl %s: it is not the pod's own: %w", key, fault.Invalid)
}

var ipcSysctls = [...]string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
	"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
}
