package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
