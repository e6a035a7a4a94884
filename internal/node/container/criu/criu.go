// Package criu asks CRIU to write processes into files, and to make processes
// of such files.
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
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// What is asked for where the machine has none.
const (
	DefaultName = "criu"
	oldest      = "4.1" // older ones do not know the memory layout of newer kernels
)

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
	path, err := exec.LookPath(name)
	if err != nil {
		return Program{}, fmt.Errorf("there is no program %s on this machine, install CRIU %s or newer: %w", name, oldest, fault.Precondition)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return Program{}, fmt.Errorf("%s --version: %v: %w", path, err, fault.Precondition)
	}
	p := Program{Path: path, Version: version(string(out))}
	if !atLeast(p.Version, oldest) {
		return Program{}, fmt.Errorf("%s is version %q, install CRIU %s or newer: %w", path, p.Version, oldest, fault.Precondition)
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

// Reason is what CRIU's log says of a failure: its errors, without what it says
// on every run of a machine that may not raise limits, and without those that
// only tell that something before them has failed.
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
		if strings.HasPrefix(said, "rlimit: Can't setup") || strings.HasSuffix(said, "FAILED.") ||
			strings.HasPrefix(said, "cg: cgroupd: recv req error") || said == "" {
			continue
		}
		found = append(found, said)
	}
	const most = 3
	return strings.Join(found[:min(len(found), most)], "; ")
}
