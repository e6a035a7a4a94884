package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/test/need"
)

// The v2 side of a hybrid machine takes device programs too.
func TestDeviceProgramsDecideAsTheRulesSay(t *testing.T) {
	need.Root(t)
	dir, group := t.TempDir(), ""
	for _, root := range []string{DefaultRoot, DefaultRoot + "/unified"} {
		if exists(filepath.Join(root, "cgroup.controllers")) {
			group = filepath.Join(root, fmt.Sprintf("sampan-test-bpf-%d", os.Getpid()))
		}
	}
	if group == "" {
		t.Skip("no cgroup v2 hierarchy")
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	for name, minor := range map[string]uint32{"null": 3, "zero": 5} {
		if err := unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR|0o600, int(unix.Mkdev(1, minor))); err != nil {
			t.Fatal(err)
		}
	}
	closed := rule{false, 'a', anyNumber, anyNumber, "rwm"}
	open := rule{true, 'a', anyNumber, anyNumber, "rwm"}
	for _, tt := range []struct {
		name                           string
		rules                          []rule
		readNull, writeNull, writeZero bool
	}{
		{"all closed", []rule{closed}, false, false, false},
		{"all open", []rule{open}, true, true, true},
		{"one open", []rule{closed, {true, 'c', 1, 3, "rw"}}, true, true, false},
		{"one open for reading", []rule{closed, {true, 'c', 1, 3, "r"}}, true, false, false},
		{"opened in two steps", []rule{closed, {true, 'c', 1, 3, "r"}, {true, 'c', 1, 3, "w"}}, true, true, false},
		{"a major open", []rule{closed, {true, 'c', 1, anyNumber, "rw"}}, true, true, true},
		{"a minor open", []rule{closed, {true, 'c', anyNumber, 5, "rw"}}, false, false, true},
		{"block devices open", []rule{closed, {true, 'b', anyNumber, anyNumber, "rwm"}}, false, false, false},
		{"one closed", []rule{open, {false, 'c', 1, 3, "rwm"}}, false, false, true},
		{"one closed for writing", []rule{open, {false, 'c', 1, 3, "w"}}, true, false, true},
		{"the last rule counts", []rule{closed, {true, 'c', 1, anyNumber, "rwm"}, {false, 'c', 1, 5, "w"}}, true, true, false},
		{"the defaults", append([]rule{closed}, defaultDevices[:]...), true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := attachDevices(group, tt.rules); err != nil {
				t.Fatal(err)
			}
			for what, want := range map[string]bool{"<" + dir + "/null": tt.readNull, ">" + dir + "/null": tt.writeNull, ">" + dir + "/zero": tt.writeZero} {
				if got := inGroup(t, group, "exec 9"+what) == nil; got != want {
					t.Errorf("%s works: %v, want %v", what, got, want)
				}
			}
		})
	}
}

// inGroup runs a script in a process that is born in a v2 group.
func inGroup(t *testing.T, group, script string) error {
	t.Helper()
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	// Its own standard streams must not be devices.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return cmd.Run()
}
