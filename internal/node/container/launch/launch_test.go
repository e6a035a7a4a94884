package launch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/test/need"
)

var probe string // the program that containers here run

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "launch")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		probe = filepath.Join(dir, "probe")
		build := exec.Command("go", "build", "-o", probe, "./testdata/probe")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build probe: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

func needRoot(t testing.TB) {
	t.Helper()
	need.Root(t) // starting containers
}

// image makes a layer that holds the probe.
func image(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "home/app"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	must(t, os.Link(probe, filepath.Join(dir, "bin/probe")))
	must(t, os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "bin/text"), []byte("no program\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "bin/data"), []byte("not executable\n"), 0o644))
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// overlay is a root of the image with a writable layer.
func overlay(t testing.TB, image string) Rootfs {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "upper"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "work"), 0o755))
	return Rootfs{Base: dir, Lower: []string{image}, Upper: "upper", Work: "work"}
}

var dockerCaps = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}

// dockerSpec is what Docker asks for when a user asks for nothing special.
func dockerSpec(args ...string) *specs.Spec {
	nsd := []string{"nosuid", "noexec", "nodev"}
	return &specs.Spec{
		Hostname: "web",
		Root:     &specs.Root{},
		Process: &specs.Process{
			Args: args, Cwd: "/", Env: []string{"PATH=/usr/bin:/bin"}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: dockerCaps, Effective: dockerCaps, Permitted: dockerCaps},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: nsd},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append([]string{"ro"}, nsd...)},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: nsd},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append([]string{"mode=1777", "size=65536k"}, nsd...)},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{{Type: "mount"}, {Type: "network"}, {Type: "uts"}, {Type: "pid"}, {Type: "ipc"}, {Type: "cgroup"}},
			MaskedPaths: []string{"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

// ended is what a container left.
type ended struct {
	out  string
	code int
}

// runSpec runs a container to its end.
func runSpec(t testing.TB, req Request) ended {
	t.Helper()
	out, err := try(t, req)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	return out
}

func try(t testing.TB, req Request) (ended, error) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	if req.Stdout == nil && !req.Terminal {
		req.Stdout, req.Stderr = w, w
	}
	p, err := Start(req)
	_ = w.Close()
	if err != nil {
		return ended{}, err
	}
	var out bytes.Buffer
	if p.Master != nil {
		_, _ = io.Copy(&out, p.Master)
		_ = p.Master.Close()
	} else if _, err := io.Copy(&out, r); err != nil {
		t.Error(err)
	}
	return ended{out.String(), wait(t, p)}, nil
}

// wait reaps a process and returns its exit code as a shell would.
func wait(t testing.TB, p *Process) int {
	t.Helper()
	defer p.PIDFD.Close()
	for {
		var st unix.WaitStatus
		_, err := unix.Wait4(p.PID, &st, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			t.Errorf("wait %d: %v", p.PID, err)
			return -1
		case st.Signaled():
			return 128 + int(st.Signal())
		}
		return st.ExitStatus()
	}
}
