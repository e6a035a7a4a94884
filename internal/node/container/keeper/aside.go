package keeper

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// AsideWord is the word by which the keeper's program runs Aside.
const AsideWord = "aside"

const (
	cgroupRoot  = "/sys/fs/cgroup"
	unifiedRoot = cgroupRoot + "/unified"
)

// Aside runs a program that does not see the v2 side of a hybrid machine's
// cgroups. Whatever else it mounts or unmounts is as if it were the caller's: the
// mounts of its namespace go on receiving from the host and telling it.
func Aside(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no program to run")
	}
	runtime.LockOSThread() // it is this thread that executes, and so the others end
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mounts: %w", err)
	}
	// Private first: the unmount must not reach the host.
	if err := unix.Mount("", cgroupRoot, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make %s private: %w", cgroupRoot, err)
	}
	if err := unix.Unmount(unifiedRoot, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("hide %s: %w", unifiedRoot, err)
	}
	return fmt.Errorf("run %s: %w", args[0], unix.Exec(args[0], args, os.Environ()))
}
