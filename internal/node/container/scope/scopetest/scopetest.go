// Package scopetest runs tests where systemd is init, on machines where it is not:
// it boots the machine's own systemd in namespaces that are the test's alone.
package scopetest

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/test/need"
)

//go:embed boot.sh
var bootScript []byte

// insideEnv is set for a test that runs below a systemd of its own.
const insideEnv = "SAMPAN_TEST_INIT"

// Layout is the layout of this machine's cgroups on which containers can run.
func Layout() string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return "v2"
	}
	return "hybrid"
}

// WithInit runs f where systemd is init, with cgroups of its own that are laid out
// as v1, hybrid or v2. The test is executed again in there; the directory for its
// temporary files is one of the machine's.
func WithInit(t *testing.T, layout string, f func(t *testing.T)) {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		f(t)
		return
	}
	need.Cgroup(t)
	need.File(t, "/lib/systemd/systemd")
	need.Command(t, "unshare", "nsenter")
	if layout != "v2" {
		need.CgroupV1(t, "cpu", "memory", "devices", "freezer", "pids")
	}
	program, err := os.Executable()
	must(t, err)
	here, err := os.Getwd()
	must(t, err)
	dir, err := os.MkdirTemp("", "init")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := "sampan-" + filepath.Base(dir)
	script := filepath.Join(dir, "boot.sh")
	must(t, os.WriteFile(script, bootScript, 0o755))
	boot := exec.Command("/bin/bash", script, name, dir, layout, filepath.Dir(program))
	boot.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := os.Create(filepath.Join(dir, "console"))
	must(t, err)
	defer out.Close()
	boot.Stdout, boot.Stderr = out, out
	must(t, boot.Start())
	t.Cleanup(func() {
		boot.Process.Kill()
		boot.Wait()
		removeGroups(t, name)
		if text, _ := os.ReadFile(out.Name()); t.Failed() {
			t.Logf("the console:\n%s", text)
		}
	})
	pid := initOf(t, boot.Process.Pid)
	test := exec.Command("nsenter", "--target", pid, "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--wdns="+here,
		program, "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v", "-test.timeout=60s")
	test.Env = append(os.Environ(), insideEnv+"=1", "TMPDIR="+filepath.Dir(program))
	said, err := test.CombinedOutput()
	t.Logf("inside:\n%s", said)
	if err != nil {
		t.Fatalf("inside: %v", err)
	}
}

// initOf waits until the init that process boots answers, and returns its PID.
func initOf(t *testing.T, process int) string {
	t.Helper()
	for range 1000 {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", process, process))
		if pid := strings.TrimSpace(string(children)); pid != "" {
			if _, err := os.Stat("/proc/" + pid + "/root/run/systemd/private"); err == nil {
				return pid
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("systemd does not boot")
	return ""
}

// removeGroups removes the cgroups of an init that has been killed.
func removeGroups(t *testing.T, name string) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		tops, err := filepath.Glob(filepath.Join(root, name))
		must(t, err)
		for _, top := range tops {
			var dirs []string
			filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for i := len(dirs) - 1; i >= 0; i-- {
				for range 200 {
					if err = os.Remove(dirs[i]); err == nil || errors.Is(err, os.ErrNotExist) {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			if err != nil {
				t.Errorf("left: %v", err)
			}
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
