// Package pidfd waits for processes and learns their exit codes through pidfds,
// also of those that are somebody else's children.
package pidfd

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ExitOf waits for a child and returns its exit code without reaping it, so
// that the code can be written down first. It fails with ECHILD for a process
// that is somebody else's child.
func ExitOf(pidfd int) (int, error) {
	// x/sys hides the union, where si_status follows si_pid and si_uid.
	var info struct {
		unix.Siginfo
	}
	for {
		err := unix.Waitid(unix.P_PIDFD, pidfd, &info.Siginfo, unix.WEXITED|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		status := *(*int32)(unsafe.Add(unsafe.Pointer(&info), 24))
		const exited = 1 // CLD_EXITED; the others are signals
		if info.Code == exited {
			return int(status), nil
		}
		return 128 + int(status), nil
	}
}

// Reap lets the kernel forget an ended child.
func Reap(pidfd int) {
	for unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED|unix.WNOHANG, nil) == unix.EINTR {
	}
}

// ForeignExit returns the exit code of an ended process that is not our child:
// from its zombie while there is one, from its pidfd after it was reaped.
func ForeignExit(pidfd, pid int, born uint64) (int, error) {
	var last error
	for range 50 {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		last = unix.IoctlPidfdInfo(pidfd, &info)
		if last == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return waitCode(int(info.Exit_code)), nil
		}
		if st, err := ReadStat(pid); err == nil && st.State == 'Z' && st.Born == born {
			return waitCode(st.Exit), nil
		}
		// Between the two, or ended but not yet a zombie.
		time.Sleep(20 * time.Millisecond)
	}
	if last == nil {
		last = fmt.Errorf("the kernel tells no exit code")
	}
	return 0, last
}

// waitCode turns what wait(2) calls a status into an exit code.
func waitCode(status int) int {
	if sig := status & 0x7f; sig != 0 {
		return 128 + sig
	}
	return status >> 8 & 0xff
}

// Stat is what we need of /proc/PID/stat.
type Stat struct {
	State byte   // one letter, Z for a zombie
	Born  uint64 // start time in the kernel's ticks: with the PID it names one process
	Exit  int    // of a zombie, as wait(2) tells it
}

func ReadStat(pid int) (Stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	// The name may hold anything, also parentheses and spaces.
	end := bytes.LastIndexByte(data, ')')
	fields := bytes.Fields(data[end+1:])
	if end < 0 || len(fields) < 50 {
		return Stat{}, fmt.Errorf("/proc/%d/stat: unknown form", pid)
	}
	born, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return Stat{}, fmt.Errorf("/proc/%d/stat: start time: %w", pid, err)
	}
	exit, _ := strconv.Atoi(string(fields[49]))
	return Stat{State: fields[0][0], Born: born, Exit: exit}, nil
}

// Open returns a pidfd of the process that had pid and was born then, if
// it still runs.
func Open(pid int, born uint64) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	// Only now is it sure that the number will not be another's while we look.
	if st, err := ReadStat(pid); err != nil || st.Born != born {
		unix.Close(fd)
		return -1, unix.ESRCH
	}
	return fd, nil
}

// Descendants returns the children of a process, their children, and so on.
func Descendants(pid int) []int {
	var all []int
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		tasks, err := os.ReadDir("/proc/" + strconv.Itoa(queue[0]) + "/task")
		if err != nil {
			continue
		}
		for _, t := range tasks {
			text, err := os.ReadFile("/proc/" + strconv.Itoa(queue[0]) + "/task/" + t.Name() + "/children")
			if err != nil {
				continue
			}
			for field := range bytes.FieldsSeq(text) {
				if child, err := strconv.Atoi(string(field)); err == nil {
					all, queue = append(all, child), append(queue, child)
				}
			}
		}
	}
	return all
}
