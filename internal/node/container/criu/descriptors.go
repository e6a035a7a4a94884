package criu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/pidfd"
)

// Descriptors finds what the processes of a container have open of the host's:
// the files given, which are its input and outputs, by name or as pipe:[INODE].
// It returns the keys by which a restore replaces each, and what a dump must be
// told of them. A file that no process has open has an empty key.
func Descriptors(pid int, files []string) (keys, external []string, err error) {
	keys = make([]string, len(files))
	want := make([]unix.Stat_t, len(files))
	for i, f := range files {
		if strings.HasPrefix(f, "pipe:") {
			keys[i] = f // anonymous: its number is its key
		} else if err := unix.Stat(f, &want[i]); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f, err)
		}
	}
	seen := map[string]bool{}
	for _, p := range append([]int{pid}, pidfd.Descendants(pid)...) {
		mounts := mountIDs(p)
		dir := fmt.Sprintf("/proc/%d/fd", p)
		list, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		for _, d := range list {
			var st unix.Stat_t
			if unix.Stat(filepath.Join(dir, d.Name()), &st) != nil {
				continue
			}
			for i := range files {
				if want[i].Ino != st.Ino || want[i].Dev != st.Dev || want[i].Mode&unix.S_IFMT != st.Mode&unix.S_IFMT {
					continue
				}
				mount := mountOf(p, d.Name())
				if mount < 0 || mounts[mount] {
					continue // the container's own, such as its /dev/null
				}
				key := fmt.Sprintf("file[%x:%x]", mount, st.Ino)
				if keys[i] == "" {
					keys[i] = key
				}
				if !seen[key] {
					seen[key] = true
					external = append(external, key)
				}
			}
		}
	}
	return keys, external, nil
}

// mountOf is the mount that a descriptor was opened on, or -1.
func mountOf(pid int, fd string) int {
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd))
	if err != nil {
		return -1
	}
	for line := range bytes.Lines(info) {
		if id, ok := bytes.CutPrefix(line, []byte("mnt_id:")); ok {
			if n, err := strconv.Atoi(string(bytes.TrimSpace(id))); err == nil {
				return n
			}
		}
	}
	return -1
}

func mountIDs(pid int) map[int]bool {
	ids := map[int]bool{}
	for _, m := range readMounts(pid) {
		ids[m.id] = true
	}
	return ids
}

// SaveDescriptors puts the keys of a container's input and outputs beside its
// images, and Saved reads them.
func SaveDescriptors(images string, keys []string) error {
	text, err := json.Marshal(keys)
	if err == nil {
		err = os.WriteFile(filepath.Join(images, descriptorFile), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("descriptors: %w", err)
	}
	return nil
}

// SavedDescriptors returns what SaveDescriptors, or runc, has written. What is no
// key of something external becomes empty.
func SavedDescriptors(images string) ([]string, error) {
	keys := make([]string, 3)
	text, err := os.ReadFile(filepath.Join(images, descriptorFile))
	if errors.Is(err, fs.ErrNotExist) {
		return keys, nil
	}
	var saved []string
	if err == nil {
		err = json.Unmarshal(text, &saved)
	}
	if err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	for i := range min(len(saved), len(keys)) {
		if strings.HasPrefix(saved[i], "pipe:[") || strings.HasPrefix(saved[i], "file[") {
			keys[i] = saved[i]
		}
	}
	return keys, nil
}
