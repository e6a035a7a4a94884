package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/test/need"
)

// program is what is tested.
const program = "../../bin/sampan"

// host is a machine for a cloud: a network namespace joined to the real machine
// by a veth pair, and one directory with data, configuration and wrappers that
// run the command line there. Its name carries this process's ID, so that a
// later run finds what a killed one has left.
type host struct {
	name  string // of namespace, directory and node
	outer string // the link's end on the real machine
	addr  string // its address
	dir   string

	instance string // what everything of its cloud on the machine is called after
}

// prefix begins the name of every host.
const prefix = "sampan-e2e-"

// newHost makes a machine and takes it away when the test ends. more is further
// configuration.
func newHost(t *testing.T, more string) *host {
	t.Helper()
	requirements(t)
	h, err := makeHost(more)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// requirements skips where no cloud can stand.
func requirements(t testing.TB) {
	t.Helper()
	need.Root(t)
	need.Cgroup(t, "cpu")
	need.Overlay(t)
	need.Command(t, "ip", "nft", "nsenter")
	need.File(t, program)
}

// makeHost takes the first address range that no other host has.
func makeHost(more string) (*host, error) {
	h := &host{}
	n := 0
	for {
		n++
		h.outer = fmt.Sprintf("smpt%d", n)
		h.name = fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), n)
		err := ip("link", "add", h.outer, "type", "veth", "peer", "name", h.outer+"p")
		if err == nil {
			break
		}
		if n == 250 || !strings.Contains(err.Error(), "File exists") {
			return nil, err
		}
	}
	h.addr = fmt.Sprintf("198.18.%d.2", n)
	h.dir = filepath.Join(os.TempDir(), h.name)
	h.instance = config.File{DataDir: h.data()}.Instance()
	for _, args := range [][]string{
		{"netns", "add", h.name},
		{"link", "set", h.outer + "p", "netns", h.name, "name", "eth0"},
		{"addr", "add", fmt.Sprintf("198.18.%d.1/24", n), "dev", h.outer},
		{"link", "set", h.outer, "up"},
		{"-n", h.name, "link", "set", "lo", "up"},
		{"-n", h.name, "addr", "add", h.addr + "/24", "dev", "eth0"},
		{"-n", h.name, "link", "set", "eth0", "up"},
		{"-n", h.name, "route", "add", "default", "via", fmt.Sprintf("198.18.%d.1", n)},
	} {
		if err := ip(args...); err != nil {
			return nil, errors.Join(err, h.close())
		}
	}
	sampan, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	return h, errors.Join(
		h.write("config.yaml", fmt.Sprintf("dataDir: %s\nnode: {name: %s}\n%s", h.data(), h.name, more), 0o600),
		h.write("link", h.outer, 0o600),
		h.write("bin/sampan", fmt.Sprintf("#!/bin/sh\nexec nsenter --net=/run/netns/%s %s \"$@\"\n", h.name, sampan), 0o755),
		h.write("bin/kubectl", "#!/bin/sh\nexec sampan kubectl \"$@\"\n", 0o755))
}

// data is the path of something in the data directory.
func (h *host) data(elem ...string) string {
	return filepath.Join(append([]string{h.dir, "data"}, elem...)...)
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// close ends the cloud and takes the machine away.
func (h *host) close() error {
	var errs []error
	if _, err := os.Stat(h.data()); err == nil {
		if out, err := h.sampan("down", "--purge"); err != nil {
			errs = append(errs, fmt.Errorf("%s: down --purge: %w: %s", h.name, err, out))
		}
	}
	return errors.Join(append(errs, h.remove())...)
}

// remove takes the machine away without asking the cloud.
func (h *host) remove() error {
	_ = ip("link", "del", h.outer) // takes its peer along; it may be gone already
	_ = ip("netns", "del", h.name)
	return os.RemoveAll(h.dir)
}

func (h *host) write(name, text string, mode os.FileMode) error {
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}

// env is what a user's shell there has set.
func (h *host) env() []string {
	return []string{
		"PATH=" + filepath.Join(h.dir, "bin") + ":" + os.Getenv("PATH"),
		"SAMPAN_CONFIG=" + filepath.Join(h.dir, "config.yaml"),
		"SAMPAN_LANG=en", "HOME=" + filepath.Join(h.dir, "home"), "KUBECONFIG=",
	}
}

// command is the command line there, not yet started.
func (h *host) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(h.dir, "bin", "sampan"), args...)
	cmd.Env = append(os.Environ(), h.env()...)
	return cmd
}

// sampan runs the command line there and returns what it printed.
func (h *host) sampan(args ...string) (string, error) {
	out, err := h.command(args...).CombinedOutput()
	return string(out), err
}

// must is sampan for what has to work.
func (h *host) must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := h.sampan(args...)
	if err != nil {
		t.Fatalf("sampan %s: %v\n%s%s", strings.Join(args, " "), err, out, h.log())
	}
	return out
}

// log is the end of the daemon's log, for failures.
func (h *host) log() string {
	data, err := os.ReadFile(h.data("log", "sampand.log"))
	if err != nil {
		return ""
	}
	return "--- the daemon's log, its end:\n" + string(data[max(0, len(data)-8000):])
}

// sweep takes away the hosts of runs that were killed.
func sweep() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	errs := []error{err}
	for _, dir := range dirs {
		h := &host{name: filepath.Base(dir), dir: dir}
		id, _, _ := strings.Cut(strings.TrimPrefix(h.name, prefix), "-")
		pid, err := strconv.Atoi(id)
		if err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		if link, err := os.ReadFile(filepath.Join(dir, "link")); err == nil {
			h.outer = string(link)
		}
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}
