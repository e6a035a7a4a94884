// Package containertest is the behaviour of a container runtime as a list of
// tests. Every path that runs containers passes it: the native one and stock
// OCI runtimes.
package containertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
)

const module = "github.com/sampan-cloud/sampan"

// Run tests all behaviours of the path handler ("" is the native one), whose
// program, if it has one, is binary.
func Run(t *testing.T, handler, binary string) {
	if os.Geteuid() != 0 {
		t.Skip("running containers takes root")
	}
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, *Node)
	}{{"life", life}, {"output", output}, {"streams", streams}, {"exec", execs}, {"crash", crashes}, {"limits", limits}, {"checkpoint", checkpoints(handler)}, {"choice", choices}} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, NewNode(t, handler, binary))
				})
			}
		})
	}
}

// Main runs a package's tests and removes the programs that Run has built.
func Main(m *testing.M) int {
	code := m.Run()
	if dir, err := programs(); err == nil {
		os.RemoveAll(dir)
	}
	return code
}

// programs are built once for all tests of a process.
var programs = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "containertest"); err != nil {
		return "", err
	}
	for name, pkg := range map[string]string{
		"sampan-keeper": module + "/cmd/sampan-keeper",
		"box":           module + "/internal/node/container/containertest/testdata/box",
	} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return dir, nil
})

// Node is a runtime with all it needs, in directories of its own.
type Node struct {
	*container.Runtime
	t       testing.TB
	cfg     container.Config
	handler string
	image   string // a layer that holds the program box
	logs    string
	last    int
}

// NewNode makes a node that is gone when the test ends.
func NewNode(t testing.TB, handler, binary string) *Node {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	groups, err := cgroup.New(cgroup.Config{})
	if err != nil {
		t.Skipf("no cgroups for containers: %v", err)
	}
	// The path of a socket is short.
	dir, err := os.MkdirTemp("", "ct")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{
		t: t, handler: handler, image: filepath.Join(dir, "image"), logs: filepath.Join(dir, "logs"),
		cfg: container.Config{
			Dir: filepath.Join(dir, "run"), Keeper: filepath.Join(bin, "sampan-keeper"), Cgroups: groups,
			Runtimes: map[string]string{handler: binary}, KeeperCgroup: "/" + filepath.Base(dir) + "/keeper",
		},
	}
	for _, d := range []string{"bin", "proc", "sys", "dev", "tmp", "etc"} {
		n.must(os.MkdirAll(filepath.Join(n.image, d), 0o755))
	}
	n.must(os.Link(filepath.Join(bin, "box"), filepath.Join(n.image, "bin/box")))
	n.must(os.WriteFile(filepath.Join(n.image, "bin/data"), []byte("not a program"), 0o644))
	n.Connect()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := n.Down(ctx); err != nil {
			t.Errorf("Down: %v", err)
		}
		if t.Failed() {
			return
		}
		if err := removeCgroup(ctx, groups, "/"+filepath.Base(dir)); err != nil {
			t.Errorf("cgroup left: %v", err)
		}
		os.RemoveAll(dir)
	})
	return n
}

func removeCgroup(ctx context.Context, groups *cgroup.Manager, path string) error {
	group, err := groups.Open(path)
	if err != nil {
		return nil
	}
	return group.Delete(ctx)
}

// Connect begins a new daemon's life. The old one's, if any, must be over.
func (n *Node) Connect() {
	n.t.Helper()
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(n.t.Output(), &slog.HandlerOptions{Level: level}))
	var err error
	n.Runtime, err = container.Connect(n.t.Context(), n.cfg, log)
	n.must(err)
}

// KeeperPID is the keeper's process, or 0 while one is just starting.
func (n *Node) KeeperPID() int {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.cfg.Dir, "keeper.lock"))
	n.must(err)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// KillKeeper ends the keeper as the kernel would, and returns when it is gone.
func (n *Node) KillKeeper() {
	n.t.Helper()
	process, err := unix.PidfdOpen(n.KeeperPID(), 0)
	if err != nil {
		return // dead already
	}
	defer unix.Close(process)
	_ = unix.PidfdSendSignal(process, unix.SIGKILL, nil, 0)
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}, 5000)
}

func (n *Node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

var capabilities = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}

// Spec is a container of the box program, as an engine would ask for it.
func (n *Node) Spec(args ...string) container.Spec {
	n.last++
	id := fmt.Sprintf("c%d", n.last)
	nsd := []string{"nosuid", "noexec", "nodev"}
	root := filepath.Join(filepath.Dir(n.image), id)
	for _, d := range []string{"upper", "work"} {
		n.must(os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	return container.Spec{
		ID: id, Log: filepath.Join(n.logs, id+".log"), Runtime: n.handler,
		Root: container.Rootfs{Base: root, Lower: []string{n.image}, Upper: "upper", Work: "work"},
		OCI: &specs.Spec{
			Version: specs.Version, Hostname: "box", Root: &specs.Root{},
			Process: n.Process(args...),
			Mounts: []specs.Mount{
				{Destination: "/proc", Type: "proc", Source: "proc", Options: nsd},
				{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
				{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
				{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append([]string{"ro"}, nsd...)},
				{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append([]string{"mode=1777", "size=65536k"}, nsd...)},
			},
			Linux: &specs.Linux{
				CgroupsPath:   "/" + filepath.Base(filepath.Dir(n.image)) + "/" + id,
				Namespaces:    []specs.LinuxNamespace{{Type: "mount"}, {Type: "network"}, {Type: "uts"}, {Type: "pid"}, {Type: "ipc"}, {Type: "cgroup"}},
				MaskedPaths:   []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"},
				ReadonlyPaths: []string{"/proc/bus", "/proc/sys", "/proc/sysrq-trigger"},
				Seccomp:       seccomp.Default(capabilities),
			},
		},
	}
}

// cgroupDir is where a container's processes are listed, on either version.
func cgroupDir(spec container.Spec) string {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return filepath.Join(root, spec.OCI.Linux.CgroupsPath)
	}
	return filepath.Join(root, "pids", spec.OCI.Linux.CgroupsPath)
}

// Process is the box program as a process of a container.
func (n *Node) Process(args ...string) *specs.Process {
	return &specs.Process{
		Args: append([]string{"/bin/box"}, args...), Cwd: "/", Env: []string{"PATH=/bin"}, NoNewPrivileges: true,
		Capabilities: &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities},
	}
}

// Start starts a container or fails the test.
func (n *Node) Start(spec container.Spec) container.Status {
	n.t.Helper()
	st, err := n.Runtime.Start(n.t.Context(), spec)
	if err != nil {
		n.t.Fatalf("Start(%s): %v", spec.ID, err)
	}
	return st
}

// WaitFor waits for a container's end or fails the test.
func (n *Node) WaitFor(id string) container.Status {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 20*time.Second)
	defer cancel()
	st, err := n.Runtime.Wait(ctx, id)
	if err != nil {
		n.t.Fatalf("Wait(%s): %v", id, err)
	}
	return st
}

// Log reads a container's log: its lines without time, such as "stdout F hello".
func (n *Node) Log(path string) []string {
	n.t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	n.must(err)
	var lines []string
	for line := range strings.Lines(string(text)) {
		at, rest, ok := strings.Cut(line, " ")
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil || !ok || !strings.HasSuffix(rest, "\n") {
			n.t.Fatalf("%s: line %q is not in CRI format", path, line)
		}
		lines = append(lines, strings.TrimSuffix(rest, "\n"))
	}
	return lines
}

// Until polls for what happens soon.
func (n *Node) Until(what string, ok func() bool) {
	n.t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	n.t.Fatalf("waited 5 s in vain until %s", what)
}
