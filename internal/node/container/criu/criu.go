// Package criu asks CRIU to write processes into files and to make them of such
// files.
//
// CRIU is a program, and is run as one: it has to be a parent of what it makes,
// and it does things to processes that no library should do inside ours. This
// package knows how it is asked (Dump, Restore), what in a container lies
// outside of it and must be given back at a restore (Outside, Descriptors), and
// what it says when it fails (Reason). Who runs it is the keeper.
//
// Words used here:
//
//   - images: the directory of files that a dump writes.
//   - external: what a process has and a dump leaves out, because it belongs to
//     the host: volumes, the pod's network, the pipes that carry output. Each has a
//     key by which a restore puts another in its place.
package criu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// DefaultName is the program that is looked for where nobody names one.
const DefaultName = "criu"

// oldest is the first version that works on a kernel: 4.1 knows today's memory
// layout, and from Linux 6.16 on older ones than 4.2 cannot read TCP sockets.
func oldest(kernel string) string {
	kernel, _, _ = strings.Cut(kernel, "-")
	if atLeast(kernel, "6.16") {
		return "4.2"
	}
	return "4.1"
}

// Program is a CRIU that can be used.
type Program struct {
	Path    string
	Version string
}

// Find looks for the program, in PATH unless name is a path. A machine without
// it, or with one that is too old, is fault.Precondition.
func Find(ctx context.Context, name string) (Program, error) {
	if name == "" {
		name = DefaultName
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Program{}, fmt.Errorf("uname: %w", err)
	}
	want := oldest(unix.ByteSliceToString(u.Release[:]))
	path, err := exec.LookPath(name)
	if err != nil {
		return Program{}, fmt.Errorf("there is no program %s on this machine, install CRIU %s or newer: %w", name, want, fault.Precondition)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return Program{}, fmt.Errorf("%s --version: %v: %w", path, err, fault.Precondition)
	}
	p := Program{Path: path, Version: version(string(out))}
	if !atLeast(p.Version, want) {
		return Program{}, fmt.Errorf("%s is version %q, install CRIU %s or newer: %w", path, p.Version, want, fault.Precondition)
	}
	return p, nil
}

// version finds it in what --version prints.
func version(out string) string {
	for line := range strings.Lines(out) {
		if v, ok := strings.CutPrefix(line, "Version:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// atLeast compares dotted numbers.
func atLeast(have, want string) bool {
	h, w := strings.Split(have, "."), strings.Split(want, ".")
	for i := range w {
		if i == len(h) {
			return false
		}
		a, err := strconv.Atoi(h[i])
		if err != nil {
			return false
		}
		if b, _ := strconv.Atoi(w[i]); a != b {
			return a > b
		}
	}
	return true
}

// noise are errors that CRIU's log has also when all goes well, as on machines
// that may not raise limits or make tun devices, or only because of the one
// before them.
var noise = []string{"rlimit: Can't setup", "tun: Unable to create tun", "cg: cgroupd: recv req error", "Dump files (pid", "Dumping FAILED", "Restoring FAILED"}

func isNoise(said string) bool {
	return said == "" || slices.ContainsFunc(noise, func(n string) bool { return strings.HasPrefix(said, n) })
}

// Reason is what CRIU's log says of a failure: its first errors.
func Reason(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return ""
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		_, said, ok := strings.Cut(line, "Error (")
		if !ok {
			continue
		}
		// The place in CRIU's source ends with "): ".
		if _, after, ok := strings.Cut(said, "): "); ok {
			said = after
		}
		said = strings.TrimSpace(said)
		if isNoise(said) {
			continue
		}
		found = append(found, said)
	}
	const most = 3
	return strings.Join(found[:min(len(found), most)], "; ")
}
