package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What cannot start says why in its last line, and leaves nothing running.
func TestUpRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		before func(t *testing.T, h *host)
		want   string
	}{
		"an unknown key":                 {"registry: {prot: 5000}\n", nil, `unknown key "prot"`},
		"a port that is taken":           {"", takePort, "5000"},
		"a data directory of the future": {"", fromTheFuture, "was written by a newer version"},
		"a pod range that is a route":    {"network: {podCIDR: 198.18.0.0/16}\n", nil, "198.18"},
		"a runtime that is not there":    {"engine: {runtimes: {runc: /absent/runc}}\n", nil, "/absent/runc"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, tt.config)
			if tt.before != nil {
				tt.before(t, h)
			}
			out, err := h.sampan("up")
			if err == nil {
				t.Fatalf("up went well: %s", out)
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			last := lines[len(lines)-1]
			if !strings.HasPrefix(last, "sampan: ") || !strings.Contains(last, tt.want) {
				t.Errorf("up ended with %q, want a line with %q:\n%s", last, tt.want, out)
			}
			if pids := h.pids("sampand"); len(pids) > 0 {
				t.Errorf("the daemon still runs: %v", pids)
			}
			// What the test itself has put there must not stop down.
			_ = os.Remove(h.data("VERSION"))
			if err := h.write("config.yaml", fmt.Sprintf("dataDir: %s\nnode: {name: %s}\n", h.data(), h.name), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func takePort(t *testing.T, h *host) {
	t.Helper()
	cmd := exec.Command("nsenter", "--net=/run/netns/"+h.name, filepath.Join(filepath.Dir(must(stage.toolbox())), "toolbox"), "serve", "5000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := h.get("http://127.0.0.1:5000/", patience); err != nil {
		t.Fatal(err)
	}
}

func must(path string, err error) string {
	if err != nil {
		panic(err)
	}
	return path
}

func fromTheFuture(t *testing.T, h *host) {
	t.Helper()
	if err := h.write("data/VERSION", "999\n", 0o600); err != nil {
		t.Fatal(err)
	}
}

// Only root may start a cloud, end it, or speak to its local socket; the others
// are told so.
func TestOthersThanRoot(t *testing.T) {
	h := shared(t)
	program := must(filepath.Abs(program))
	// The user must reach the program and the configuration.
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copied := filepath.Join(dir, "sampan")
	if out, err := exec.Command("cp", program, copied).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("dataDir: "+h.data()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"up":                        "only root may start a cloud",
		"down":                      "only root may end a cloud",
		"images":                    "not allowed",
		"run --rm " + image + " id": "not allowed",
	} {
		cmd := exec.Command("setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", copied, "--config", config}, strings.Fields(args)...)...)
		cmd.Env = []string{"SAMPAN_LANG=en", "HOME=/nonexistent", "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("sampan %s as nobody: %v: %s; want %q", args, err, out, want)
		}
	}
}

// A disk that fills up while an image comes in costs that image and nothing else.
func TestDiskFull(t *testing.T) {
	h := newHost(t, "")
	if err := os.MkdirAll(h.data(), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", h.data(), "tmpfs", 0, "size=700m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A disk of its own is the machine's: purging empties it, and no more.
		out, err := h.sampan("down", "--purge")
		left, readErr := os.ReadDir(h.data())
		if err := errors.Join(err, readErr, unix.Unmount(h.data(), 0)); err != nil || len(left) > 0 {
			t.Errorf("down --purge: %v: %s%v stayed", err, out, left)
		}
	})
	h.must(t, "up")
	h.load(t)
	var fs unix.Statfs_t
	if err := unix.Statfs(h.data(), &fs); err != nil {
		t.Fatal(err)
	}
	// All but 8 MiB is gone; the image wants more than that twice.
	ballast := make([]byte, int64(fs.Bavail)*fs.Bsize-(8<<20))
	if err := h.write("data/ballast", string(ballast), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "big.tar")
	if err := writeBig(archive, 32<<20); err != nil {
		t.Fatal(err)
	}
	out, err := h.sampan("image", "load", archive)
	if err == nil || !strings.Contains(out, "no space left on device") {
		t.Errorf("load on a full disk: %v: %s", err, out)
	}
	if err := os.Remove(h.data("ballast")); err != nil {
		t.Fatal(err)
	}
	if out := h.must(t, "images"); strings.Contains(out, badImage) {
		t.Errorf("half an image stayed:\n%s", out)
	}
	if out := h.must(t, "run", "--rm", image, "echo", "goes on"); out != "goes on\n" {
		t.Errorf("after the disk was full: %q", out)
	}
}
