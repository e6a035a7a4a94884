package launch

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// StepError is a system call that failed: what it was to do, to which path, and
// the kernel's answer. Step "exec" is the container's own program.
type StepError struct {
	Step  string
	Path  string
	Errno syscall.Errno
}

func (e *StepError) Error() string {
	switch {
	case e.Step == "exec" && e.Errno == syscall.ENOENT && !strings.Contains(e.Path, "/"):
		// The words that every other runtime uses; tools look for them.
		return fmt.Sprintf("exec: %q: executable file not found in $PATH", e.Path)
	case e.Step == "exec":
		return fmt.Sprintf("exec: %q: %v", e.Path, e.Errno)
	case e.Path == "":
		return fmt.Sprintf("%s: %v", e.Step, e.Errno)
	}
	return fmt.Sprintf("%s %s: %v", e.Step, e.Path, e.Errno)
}

func (e *StepError) Unwrap() error { return e.Errno }

// ExitCode is the code a shell would give: 127 when the program is not there,
// 126 when it cannot be executed, 128 when the start failed before that.
func (e *StepError) ExitCode() int {
	switch {
	case e.Step != "exec":
		return 128
	case e.Errno == syscall.ENOENT || e.Errno == syscall.ENOTDIR:
		return 127
	}
	return 126
}

// failed makes a StepError of what a call in the parent answered.
func failed(name, path string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return &StepError{Step: name, Path: path, Errno: errno}
	}
	return fmt.Errorf("%s %s: %w", name, path, err)
}
