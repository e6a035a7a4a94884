package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Control files are written with bare system calls: package os would register
// each with the poller, which costs as much again as the write.

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func open(path string, flags int) (fd int, err error) {
	err = ignoringEINTR(func() error {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func openFile(path string, flags int) (*os.File, error) {
	fd, err := open(path, flags)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// writeFile writes one value to a control file. The error is the bare errno.
func writeFile(dir, file, value string) error {
	fd, err := open(filepath.Join(dir, file), unix.O_WRONLY|unix.O_TRUNC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return writeFd(fd, value)
}

func writeFd(fd int, value string) error {
	return ignoringEINTR(func() error {
		_, err := unix.Write(fd, []byte(value))
		return err
	})
}

// readFile reads a control file without the newline at its end.
func readFile(dir, file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	return strings.TrimSpace(string(text)), err
}

func readUint(dir, file string) (uint64, error) {
	text, err := readFile(dir, file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Join(dir, file), err)
	}
	return n, nil
}

// readKeys calls f for each "key value" line of a file.
func readKeys(dir, file string, f func(key string, value uint64)) error {
	text, err := readFile(dir, file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			f(key, n)
		}
	}
	return nil
}

// readPIDs returns the processes of the group itself, in our pid namespace.
func readPIDs(dir string) ([]int, error) {
	text, err := readFile(dir, "cgroup.procs")
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(text) {
		// 0 is a process that our pid namespace does not see.
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
