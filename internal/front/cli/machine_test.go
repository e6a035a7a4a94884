package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMissingControllers(t *testing.T) {
	for name, tt := range map[string]struct {
		unified string   // what cgroup.controllers says; "" is no such file
		own     []string // hierarchies of version 1
		want    string
	}{
		"version 2 with all":          {"cpuset cpu io memory hugetlb pids\n", nil, ""},
		"version 2 without pids":      {"cpuset cpu io memory\n", nil, "pids"},
		"cpuset is not cpu":           {"cpuset memory pids\n", nil, "cpu"},
		"version 1 with all":          {"", []string{"cpu", "memory", "pids"}, ""},
		"version 1 without memory":    {"", []string{"cpu", "pids"}, "memory"},
		"both side by side":           {"pids\n", []string{"cpu", "memory"}, ""},
		"version 2 that offers none":  {"\n", nil, "cpu memory pids"},
		"nothing is mounted there":    {"", nil, "cpu memory pids"},
		"version 1 with two mistaken": {"", []string{"cpuacct", "memory_recursiveprot", "pids"}, "cpu memory"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if tt.unified != "" {
				writeFile(t, filepath.Join(root, "cgroup.controllers"), tt.unified)
			}
			for _, dir := range tt.own {
				if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(missingControllers(root), " "); got != tt.want {
				t.Errorf("missingControllers = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestHasOverlay(t *testing.T) {
	for name, tt := range map[string]struct {
		list string
		want bool
	}{
		"a kernel with it":    {"nodev\tproc\n\text4\nnodev\toverlay\nnodev\tmqueue\n", true},
		"a kernel without it": {"nodev\tproc\n\text4\nnodev\tmqueue\n", false},
		"one with a namesake": {"nodev\toverlayfs\nnodev\tfuse.overlay\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "filesystems")
			writeFile(t, path, tt.list)
			if got := hasOverlay(path); got != tt.want {
				t.Errorf("hasOverlay = %v, want %v", got, tt.want)
			}
		})
	}
	if !hasOverlay(filepath.Join(t.TempDir(), "absent")) {
		t.Error("hasOverlay without a list = false, want true: the mount tells")
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
