package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	cgroupRoot  = "/sys/fs/cgroup"    // where the kernel's control groups are mounted
	filesystems = "/proc/filesystems" // lists the kernel's kinds of filesystem
)

// missingControllers returns the controllers without which no container can be
// limited, of version 2, of version 1, or of both side by side.
func missingControllers(root string) []string {
	var have []string
	if data, err := os.ReadFile(filepath.Join(root, "cgroup.controllers")); err == nil {
		have = strings.Fields(string(data))
	}
	var missing []string
	for _, c := range []string{"cpu", "memory", "pids"} {
		if slices.Contains(have, c) {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, c)); err != nil {
			missing = append(missing, c)
		}
	}
	return missing
}

// hasOverlay tells whether the list at path has overlay. Without a list nothing
// is known against it, and the first mount will tell.
func hasOverlay(path string) bool {
	data, err := os.ReadFile(path)
	return err != nil || strings.Contains(string(data), "\toverlay\n")
}

// loadModule asks for a kernel module, and tells whether it is there now.
func loadModule(name string) bool { return exec.Command("modprobe", name).Run() == nil }
