// Package need skips tests that a machine cannot run, each with its reason.
//
// A skip hides a failure as well as a missing thing. Where CI is set to true a
// test may therefore only be skipped for a reason that allowed.txt lists, with
// why that is acceptable; any other skip fails the test.
package need

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

//go:embed allowed.txt
var allowed string

// Root skips the test unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "not root")
	}
}

// Cgroup skips the test unless it may make cgroups with at least the
// controllers named.
func Cgroup(t testing.TB, controllers ...string) {
	t.Helper()
	Root(t)
	have := cgroupControllers()
	for _, c := range append([]string{"memory", "pids"}, controllers...) {
		if !have[c] {
			skip(t, "no cgroup controller "+c)
		}
	}
}

// CgroupV1 skips the test unless controllers have hierarchies of their own.
func CgroupV1(t testing.TB, controllers ...string) {
	t.Helper()
	if isCgroup2("/sys/fs/cgroup") {
		skip(t, "no cgroup v1")
	}
	Cgroup(t, controllers...)
}

// Overlay skips the test unless overlay filesystems can be mounted.
func Overlay(t testing.TB) {
	t.Helper()
	Root(t)
	filesystems, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(filesystems), "\toverlay\n") {
		skip(t, "no overlay filesystem")
	}
}

// Kernel skips the test on kernels older than major.minor.
func Kernel(t testing.TB, major, minor int) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatalf("uname: %v", err)
	}
	var haveMajor, haveMinor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &haveMajor, &haveMinor); err != nil {
		t.Fatalf("uname: release %q: %v", u.Release, err)
	}
	if haveMajor < major || haveMajor == major && haveMinor < minor {
		skip(t, fmt.Sprintf("kernel older than %d.%d", major, minor))
	}
}

// Command skips the test unless all the programs are installed.
func Command(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			skip(t, "no command "+name)
		}
	}
}

// Header skips the test unless a C header is installed. pkg is the Debian
// package that has it.
func Header(t testing.TB, name, pkg string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join("/usr/include", name)); err != nil {
		skip(t, "no package "+pkg)
	}
}

// File skips the test unless a file is there.
func File(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		skip(t, "no file "+path)
	}
}

// skip ends the test: skipped on a developer's machine or with a reason that is
// allowed, failed in CI otherwise.
func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" && !isAllowed(allowed, reason) {
		t.Fatalf("skipped in CI: %s: not in test/need/allowed.txt", reason)
	}
	t.Skip(reason)
}

// isAllowed looks for a reason in a list with lines of the form "reason: why".
func isAllowed(list, reason string) bool {
	for line := range strings.Lines(list) {
		if why, ok := strings.CutPrefix(strings.TrimSpace(line), reason+": "); ok && why != "" {
			return true
		}
	}
	return false
}

func isCgroup2(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// cgroupControllers returns those that can be used, of either version.
func cgroupControllers() map[string]bool {
	have := map[string]bool{}
	if text, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		for _, c := range strings.Fields(string(text)) {
			have[c] = true
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return have
	}
	for line := range strings.Lines(string(mounts)) {
		// The filesystem's type and options follow the separator.
		_, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(after); len(fields) == 3 && fields[0] == "cgroup" {
			for _, option := range strings.Split(fields[2], ",") {
				have[option] = true
			}
		}
	}
	return have
}
