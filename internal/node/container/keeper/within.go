package keeper

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// WithinWord is the word by which the keeper's program runs Within.
const WithinWord = "within"

// within is where a program is run: in cgroups, given as the v1 files that a
// thread writes into to join and at most one directory of v2, and then in a new
// cgroup namespace, if it is to have one.
type within struct {
	joins     []int
	namespace bool
}

// start starts a program there. It goes by way of the keeper's own program: were
// a thread of the keeper itself to join first, the keeper would be among those who
// are killed with the cgroup.
func (w within) start(path string, args []string, attr *os.ProcAttr) (*os.Process, error) {
	if len(w.joins) == 0 {
		return os.StartProcess(path, append([]string{path}, args...), attr)
	}
	attr.Sys = &syscall.SysProcAttr{}
	first := len(attr.Files)
	joins := openFiles(w.joins)
	defer joins.close()
	for i, f := range joins {
		var st unix.Stat_t
		if err := unix.Fstat(w.joins[i], &st); err != nil {
			return nil, fmt.Errorf("join cgroup: %w", err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, w.joins[i]
		} else {
			attr.Files = append(attr.Files, f)
		}
	}
	command := []string{
		os.Args[0], WithinWord, strconv.Itoa(first), strconv.Itoa(len(attr.Files) - first), strconv.FormatBool(w.namespace), path,
	}
	return os.StartProcess("/proc/self/exe", append(command, args...), attr)
}

// Within runs a program as a member of cgroups: args are the first descriptor
// that is a cgroup's tasks file, how many there are, whether to have a new cgroup
// namespace, the program and its arguments.
func Within(args []string) error {
	if len(args) < 4 {
		return fmt.Errorf("no program to run")
	}
	first, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("descriptor %q: %w", args[0], err)
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("descriptors %q: %w", args[1], err)
	}
	runtime.LockOSThread() // it is this thread that joins, and that executes
	for fd := first; fd < first+count; fd++ {
		if _, err := unix.Write(fd, []byte("0")); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
		unix.CloseOnExec(fd)
	}
	if args[2] == strconv.FormatBool(true) {
		if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
			return fmt.Errorf("new cgroup namespace: %w", err)
		}
	}
	return fmt.Errorf("run %s: %w", args[3], unix.Exec(args[3], args[3:], os.Environ()))
}
