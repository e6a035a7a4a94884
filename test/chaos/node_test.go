package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/network"
	"github.com/sampan-cloud/sampan/test/need"
)

// node is a machine of its own, as far as its network goes, with a daemon and a
// keeper. Only the test's goroutine starts daemons: it alone is in the network
// namespace.
type node struct {
	layout
	t      *testing.T
	daemon *exec.Cmd
	cri    runtimeapi.RuntimeServiceClient
}

func newNode(t *testing.T) *node {
	t.Helper()
	need.Cgroup(t)
	need.Overlay(t)
	// The thread ends with the test, and the namespace with the last process in it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("network namespace: %v", err)
	}
	must(t, netlink.LinkSetUp(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: 1}}))
	// The path of a socket is short.
	dir, err := os.MkdirTemp("", "chaos")
	must(t, err)
	n := &node{t: t, layout: layout(dir)}
	for program, pkg := range map[string]string{n.keeper(): "cmd/sampan-keeper", n.say(): "test/chaos/testdata/say"} {
		build := exec.Command("go", "build", "-o", program, "github.com/sampan-cloud/sampan/"+pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	conn, err := grpc.NewClient("unix://"+n.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	n.cri = runtimeapi.NewRuntimeServiceClient(conn)
	t.Cleanup(func() {
		conn.Close()
		n.down()
	})
	n.start()
	n.ready()
	return n
}

// down takes everything away that the node has made, and sees that it is gone.
func (n *node) down() {
	n.kill(n.daemon.Process.Pid)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cfg, err := n.containers()
	if err != nil {
		n.t.Error(err)
		return
	}
	quiet := slog.New(slog.DiscardHandler)
	err = errors.Join(container.Down(ctx, cfg, quiet), network.Remove(ctx, n.network(), quiet))
	if group, missing := cfg.Cgroups.Open(n.cgroup()); missing == nil {
		err = errors.Join(err, group.Delete(ctx))
	}
	if err != nil {
		n.t.Errorf("down: %v", err)
	}
	failed := n.t.Failed() // then there are pods left
	for _, m := range n.mounts() {
		if !failed {
			n.t.Errorf("left mounted: %s", m)
		}
		_ = unix.Unmount(m, unix.MNT_DETACH)
	}
	if n.t.Failed() {
		n.t.Logf("the node's files stay in %s", string(n.layout))
		return
	}
	if err := os.RemoveAll(string(n.layout)); err != nil {
		n.t.Error(err)
	}
}

// start begins a daemon's life.
func (n *node) start() {
	n.t.Helper()
	errors, err := os.OpenFile(n.errors(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(n.t, err)
	defer errors.Close()
	n.daemon = exec.Command("/proc/self/exe")
	n.daemon.Env = append(os.Environ(), envDaemon+"="+string(n.layout))
	n.daemon.Stderr = errors
	must(n.t, n.daemon.Start())
}

// ready waits until the daemon answers.
func (n *node) ready() {
	n.t.Helper()
	eventually(n.t, 20*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := n.cri.Version(ctx, &runtimeapi.VersionRequest{})
		return err
	})
}

// killDaemon ends the daemon as the kernel would.
func (n *node) killDaemon() {
	n.t.Helper()
	must(n.t, n.daemon.Process.Kill())
	_ = n.daemon.Wait()
	if n.daemon.ProcessState.ExitCode() != -1 {
		text, _ := os.ReadFile(n.errors())
		n.t.Fatalf("the daemon ended by itself: %s\n%s", n.daemon.ProcessState, tail(text, 2000))
	}
}

// killKeeper ends the keeper, and returns when it is gone. There may be none
// just then.
func (n *node) killKeeper() { n.kill(n.keeperPID()) }

// changeKeeper makes the keeper's program another build.
func (n *node) changeKeeper() {
	n.t.Helper()
	program, err := os.ReadFile(n.keeper())
	must(n.t, err)
	must(n.t, os.WriteFile(n.keeper()+".new", append(program, 0), 0o755))
	must(n.t, os.Rename(n.keeper()+".new", n.keeper()))
}

func (n *node) kill(pid int) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(process)
	_ = unix.PidfdSendSignal(process, unix.SIGKILL, nil, 0)
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}, 5000)
	if n.daemon.Process.Pid == pid {
		_ = n.daemon.Wait()
	}
}

// keeperPID is the keeper's process, or 0 while one is just starting.
func (n *node) keeperPID() int {
	text, err := os.ReadFile(n.path("run/keeper.lock"))
	must(n.t, err)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// mounts are the mount points of this machine that lie in the node's directory.
func (n *node) mounts() (points []string) {
	n.t.Helper()
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	must(n.t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], string(n.layout)+"/") {
			points = append(points, f[4])
		}
	}
	return points
}

// links are the network links of the machine that are not its own.
func (n *node) links() (names []string) {
	n.t.Helper()
	links, err := netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) { // links came and went meanwhile
		links, err = netlink.LinkList()
	}
	must(n.t, err)
	for _, l := range links {
		if name := l.Attrs().Name; name != "lo" && name != n.network().Bridge && l.Attrs().MasterIndex != 0 {
			names = append(names, name)
		}
	}
	return names
}

// cgroups are the containers' that exist, in all hierarchies.
func (n *node) cgroups() (dirs []string) {
	n.t.Helper()
	groups, err := cgroup.New(cgroup.Config{})
	must(n.t, err)
	parent, err := groups.Open(n.cgroup())
	if err != nil {
		return nil
	}
	for _, dir := range parent.Mounts() {
		below, err := filepath.Glob(dir + "/*/cgroup.procs")
		must(n.t, err)
		dirs = append(dirs, below...)
	}
	return dirs
}

// descriptors counts what a process has open.
func descriptors(pid int) int {
	open, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	return len(open)
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("after %s: %v", limit, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// children are the keeper's, dead or alive, but for its holder.
func children(keeper int) (pids []string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", keeper, keeper))
	for _, pid := range strings.Fields(string(text)) {
		args, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		if !bytes.Contains(args, []byte("\x00hold\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}
