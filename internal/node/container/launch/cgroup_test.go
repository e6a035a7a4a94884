package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// cgroup makes a cgroup in a hierarchy and opens what a child joins it by.
func cgroup(t *testing.T, hierarchy, join string) (name string, f *os.File) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(hierarchy, &fs); err != nil || fs.Type != unix.CGROUP_SUPER_MAGIC && fs.Type != unix.CGROUP2_SUPER_MAGIC {
		t.Skipf("no cgroup hierarchy at %s", hierarchy)
	}
	name = fmt.Sprintf("launch-%d-%d", os.Getpid(), time.Now().UnixNano())
	dir := filepath.Join(hierarchy, name)
	must(t, os.Mkdir(dir, 0o755))
	flags := os.O_WRONLY
	if join == "" {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(filepath.Join(dir, join), flags, 0)
	must(t, err)
	t.Cleanup(func() {
		must(t, f.Close())
		var err error
		for range 200 {
			if err = unix.Rmdir(dir); err != unix.EBUSY {
				break
			}
			time.Sleep(5 * time.Millisecond) // the kernel lets go of a process after its end
		}
		must(t, err)
	})
	return name, f
}

func TestCgroupsAreJoined(t *testing.T) {
	needRoot(t)
	img := image(t)
	for name, tt := range map[string]struct {
		hierarchy, join, line string
	}{
		"by writing to tasks of cgroup v1": {"/sys/fs/cgroup/pids", "tasks", ":pids:/"},
		"at birth in cgroup v2, mixed":     {"/sys/fs/cgroup/unified", "", "0::/"},
		"at birth in cgroup v2":            {"/sys/fs/cgroup", "", "0::/"},
	} {
		t.Run(name, func(t *testing.T) {
			group, f := cgroup(t, tt.hierarchy, tt.join)
			spec := dockerSpec("probe", "grep "+tt.line+" /proc/self/cgroup")
			got := runSpec(t, Request{ID: "web", Spec: spec, Root: overlay(t, img), Cgroups: []*os.File{f}})
			if !strings.HasSuffix(got.out, tt.line+"\n") {
				t.Errorf("in a cgroup namespace: %q, want its own cgroup as %s", got.out, tt.line)
			}
			spec = dockerSpec("probe", "grep "+tt.line+" /proc/self/cgroup")
			spec.Linux.Namespaces = spec.Linux.Namespaces[:5]
			got = runSpec(t, Request{ID: "web", Spec: spec, Root: overlay(t, img), Cgroups: []*os.File{f}})
			if !strings.Contains(got.out, group) {
				t.Errorf("in the host's cgroup namespace: %q, want %s", got.out, group)
			}
			user := userSpec("grep " + tt.line + " /proc/self/cgroup")
			got = runSpec(t, Request{ID: "web", Spec: user, Root: overlay(t, img), Cgroups: []*os.File{f}})
			if !strings.HasSuffix(got.out, tt.line+"\n") {
				t.Errorf("in a user namespace: %q, want its own cgroup as %s", got.out, tt.line)
			}
			c := sleeper(t, dockerSpec("probe", "sleep"), overlay(t, img))
			out, err := execOut(t, ExecRequest{ID: "web", PID: c.PID, PIDFD: c.PIDFD, Cgroups: []*os.File{f},
				Spec: &specs.Process{Args: []string{"/bin/probe", "grep " + tt.line + " /proc/self/cgroup"}, Cwd: "/"}})
			if err != nil || !strings.Contains(out, group) {
				t.Errorf("Exec = %q, %v; want it in %s", out, err, group)
			}
		})
	}
}
