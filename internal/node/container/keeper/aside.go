package keeper

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// AsideWord is the word by which the keeper's program runs Aside.
const AsideWord = "aside"

// What Aside does about the v2 side of the container's cgroup before it is hidden.
const (
	asideJoins = "join" // a process of the container is to be made
	asideStays = "stay"
)

const (
	cgroupRoot  = "/sys/fs/cgroup"
	unifiedRoot = cgroupRoot + "/unified"
)

// aside is the command by which Aside runs another. makes says that this makes a
// process of the container.
func aside(group string, makes bool, args []string) (string, []string) {
	how := asideStays
	if makes {
		how = asideJoins
	}
	return "/proc/self/exe", append([]string{os.Args[0], AsideWord, group, how}, args...)
}

// Aside runs a program that does not see the v2 side of a hybrid machine's
// cgroups: args are the container's cgroup, whether to join it there, the program
// and its arguments. What else it mounts or unmounts is as if it were the caller's: the mounts of its
// namespace go on receiving from the host and telling it.
func Aside(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("no program to run")
	}
	group, command := args[0], args[2:]
	if args[1] == asideJoins {
		// As the program would, if it saw that: what ends a group's processes looks
		// there.
		dir := filepath.Join(unifiedRoot, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	runtime.LockOSThread() // it is this thread that executes, and so the others end
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mounts: %w", err)
	}
	// Private first: what follows must not reach the host.
	if err := unix.Mount("", cgroupRoot, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make %s private: %w", cgroupRoot, err)
	}
	if err := unix.Unmount(unifiedRoot, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("hide %s: %w", unifiedRoot, err)
	}
	// crun joins a group there all the same, of which it makes the last part if it
	// is missing. What it finds is gone with it.
	if err := unix.Mount("tmpfs", unifiedRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=64k"); err != nil {
		return fmt.Errorf("hide %s: %w", unifiedRoot, err)
	}
	if err := os.MkdirAll(filepath.Join(unifiedRoot, group), 0o755); err != nil {
		return fmt.Errorf("hide %s: %w", unifiedRoot, err)
	}
	return fmt.Errorf("run %s: %w", command[0], unix.Exec(command[0], command, os.Environ()))
}
