package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is a command that runs with a terminal of its own.
type terminal struct {
	*os.File
	cmd *exec.Cmd
	out bytes.Buffer
}

func openTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 111})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		_ = cmd.Process.Kill()
	})
	return &terminal{File: f, cmd: cmd}
}

// expect reads until text has come.
func (c *terminal) expect(t *testing.T, text string) {
	t.Helper()
	late := time.AfterFunc(30*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	buf := make([]byte, 4096)
	for !strings.Contains(c.out.String(), text) {
		n, err := c.Read(buf)
		c.out.Write(buf[:n])
		if err != nil && n == 0 {
			t.Fatalf("%s: the terminal ended without %q: %q", c.cmd, text, c.out.String())
		}
	}
}

func TestTerminal(t *testing.T) {
	h := shared(t)
	h.must(t, "run", image, "--name", "tty", "sleep")
	t.Cleanup(func() { _, _ = h.sampan("rm", "tty") })
	for name, args := range map[string][]string{
		"of a one-off":          {"run", "--rm", "-it", image, "shell"},
		"of an exec":            {"exec", "-it", "tty", "/bin/toolbox", "shell"},
		"of kubectl exec":       {"kubectl", "exec", "-it", "deploy/tty", "--", "/bin/toolbox", "shell"},
		"of a pod with kubectl": {"kubectl", "run", "tty-pod", "--rm", "-it", "--restart=Never", "--image=" + image, "--", "shell"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openTerminal(t, h.command(args...))
			// What kubectl attaches to may have written its first prompt before.
			io.WriteString(c, "\r")
			c.expect(t, "$ ")
			io.WriteString(c, "size\r")
			c.expect(t, "111x33")
			if err := pty.Setsize(c.File, &pty.Winsize{Rows: 20, Cols: 70}); err != nil {
				t.Fatal(err)
			}
			// The change travels beside the input.
			time.Sleep(500 * time.Millisecond)
			io.WriteString(c, "size\r")
			c.expect(t, "70x20")
			io.WriteString(c, "exit 9\r")
			_, _ = io.Copy(&c.out, c)
			err := c.cmd.Wait()
			if code := c.cmd.ProcessState.ExitCode(); code != 9 && !strings.Contains(name, "a pod") {
				t.Errorf("exit code %d (%v), want 9: %q", code, err, c.out.String())
			}
		})
	}
}

// logs -f goes on as more is written, and ends with the container.
func TestLogsFollow(t *testing.T) {
	h := shared(t)
	h.must(t, "run", image, "--name", "follow", "tick", "100ms")
	cmd := h.command("logs", "-f", "--tail", "1", "follow")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	buf := make([]byte, 4096)
	var got strings.Builder
	for strings.Count(got.String(), "tick") < 5 {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("logs -f ended: %v: %q", err, got.String())
		}
		got.Write(buf[:n])
	}
	h.must(t, "rm", "follow")
	ended := time.AfterFunc(40*time.Second, func() { _ = cmd.Process.Kill() })
	defer ended.Stop()
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("logs -f after the app was removed: %v", err)
	}
}
