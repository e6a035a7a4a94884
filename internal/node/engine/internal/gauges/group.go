// Package gauges reads what a container's processes use, in the detail that
// metrics want and the runtime's own statistics leave out: from the files of
// their cgroup, v1 or v2, and from /proc.
package gauges

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// group is the cgroup of a process: a directory for each v1 controller, and one
// for v2 under the empty name.
type group map[string]string

// findGroup reads where a process is, and where those hierarchies are mounted.
func findGroup(pid int) (group, error) {
	where, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	points := mountPoints(string(mounts))
	g := group{}
	for line := range strings.Lines(string(where)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		for controller := range strings.SplitSeq(f[1], ",") {
			if at, ok := points[controller]; ok {
				g[controller] = filepath.Join(at, f[2])
			}
		}
	}
	return g, nil
}

// mountPoints finds each controller's hierarchy. v1 names it among the
// superblock's options.
func mountPoints(mountinfo string) map[string]string {
	points := map[string]string{}
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		b, a := strings.Fields(before), strings.Fields(after)
		if !ok || len(b) < 5 || len(a) < 3 {
			continue
		}
		switch a[0] {
		case "cgroup2":
			points[""] = b[4]
		case "cgroup":
			for o := range strings.SplitSeq(a[2], ",") {
				points[o] = b[4]
			}
		}
	}
	return points
}

// v1 tells whether a controller has a hierarchy of its own.
func (g group) v1(controller string) bool { return g[controller] != "" }

// read returns a file of a controller, of v2 when it has no hierarchy of its
// own. What a kernel does not have reads as empty.
func (g group) read(controller, file string) string {
	dir := g[controller]
	if dir == "" {
		dir = g[""]
	}
	if dir == "" {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return ""
	}
	return string(b)
}

func (g group) number(controller, file string) uint64 {
	return number(strings.TrimSpace(g.read(controller, file)))
}

// keyed reads lines of "name value".
func (g group) keyed(controller, file string) map[string]uint64 {
	out := map[string]uint64{}
	for line := range strings.Lines(g.read(controller, file)) {
		if f := strings.Fields(line); len(f) == 2 {
			out[f[0]] = number(f[1])
		}
	}
	return out
}

// pids returns the group's processes.
func (g group) pids() []int {
	text := g.read("pids", "cgroup.procs")
	if text == "" {
		text = g.read("cpu", "cgroup.procs")
	}
	var out []int
	for line := range strings.Lines(text) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			out = append(out, pid)
		}
	}
	return slices.Compact(out)
}

// number is 0 for "max" and other words.
func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
