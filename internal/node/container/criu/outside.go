package criu

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A mount is one line of mountinfo.
type mount struct {
	id, parent int
	point      string
	kind       string // filesystem
}

// Outside tells a dump which mounts of a running container are the host's, with
// the place that the specification gives each as its key: the place where it
// really is may differ, when the image has a link on the way. A mount below one
// of these, as a recursive bind brings it along, is the host's too.
func Outside(pid int, spec *specs.Spec) ([]string, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: root: %w", pid, err)
	}
	defer unix.Close(root)
	asked := map[int]specs.Mount{} // by the mount that came of it
	for _, m := range spec.Mounts {
		if id, err := mountAt(root, m.Destination); err == nil {
			asked[id] = m
		}
	}
	var external []string
	byID := map[int]mount{}
	all := readMounts(pid)
	for _, m := range all {
		byID[m.id] = m
	}
	for _, m := range all {
		if strings.HasPrefix(m.kind, "cgroup") {
			external = append(external, mountKey(m.point, m.point))
			continue
		}
		for at := m; at.id != 0; at = byID[at.parent] {
			origin, ok := asked[at.id]
			if !ok {
				continue
			}
			if fromHost(origin) {
				key := path.Clean(origin.Destination) + strings.TrimPrefix(m.point, at.point)
				external = append(external, mountKey(m.point, key))
			}
			break
		}
	}
	return external, nil
}

// mountAt finds the mount that a path of the container leads to.
func mountAt(root int, dest string) (int, error) {
	fd, err := unix.Openat2(root, dest, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return 0, err
	}
	return int(st.Mnt_id), nil
}

// Inside tells a restore where on the host the mounts are that the specification
// of the new container brings.
func Inside(spec *specs.Spec, cgroups map[string]string) []string {
	var external []string
	for _, m := range spec.Mounts {
		dest := path.Clean(m.Destination)
		switch {
		case m.Type == "cgroup" || m.Type == "cgroup2":
			for name, dir := range cgroups {
				external = append(external, mountKey(path.Join(dest, name), dir))
			}
		case fromHost(m):
			external = append(external, mountKey(dest, m.Source))
			for _, below := range readMounts(os.Getpid()) {
				if rest, ok := strings.CutPrefix(below.point, strings.TrimSuffix(m.Source, "/")+"/"); ok && recursive(m) {
					external = append(external, mountKey(path.Join(dest, rest), filepath.Join(m.Source, rest)))
				}
			}
		}
	}
	return external
}

func mountKey(key, value string) string { return fmt.Sprintf("mnt[%s]:%s", key, value) }

func fromHost(m specs.Mount) bool {
	if m.Type == "bind" {
		return true
	}
	for _, o := range m.Options {
		if o == "bind" || o == "rbind" {
			return true
		}
	}
	return false
}

func recursive(m specs.Mount) bool {
	for _, o := range m.Options {
		if o == "rbind" {
			return true
		}
	}
	return false
}

// readMounts reads what is mounted for a process. None are seen of one that has
// ended.
func readMounts(pid int) []mount {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil
	}
	var all []mount
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		before, after, _ := strings.Cut(string(line), " - ")
		if len(fields) < 5 || before == "" {
			continue
		}
		m := mount{point: unescape(fields[4]), kind: strings.Fields(after)[0]}
		m.id, _ = strconv.Atoi(fields[0])
		m.parent, _ = strconv.Atoi(fields[1])
		all = append(all, m)
	}
	return all
}

// unescape undoes what the kernel does to blanks in a path.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
