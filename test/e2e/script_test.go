package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long scripts wait for what takes a moment.
const patience = 60 * time.Second

// TestScripts runs what a user would type, against the shared cloud. Beside the
// usual commands scripts know `get URL` and `until REGEXP COMMAND…`.
func TestScripts(t *testing.T) {
	h := shared(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, h.env()...)
			e.Setenv("IMAGE", image)
			e.Setenv("ADDR", h.addr)
			e.Setenv("NODE", h.name)
			e.Setenv("DATADIR", h.data())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"get": h.getScript, "until": until},
	})
}

// getScript is `get URL`: its body becomes the standard output.
func (h *host) getScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: get URL")
	}
	wait := patience
	if neg {
		wait = 0
	}
	body, err := h.get(strings.TrimSpace(args[0]), wait)
	ts.Stdout().Write([]byte(body))
	if (err != nil) != neg {
		ts.Fatalf("get %s: %v", args[0], err)
	}
}

// until is `until REGEXP COMMAND…`: it runs sampan or kubectl again and again
// until the output matches. With ! in front, until it no longer does.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND…")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	program := filepath.Join(ts.Getenv("HOME"), "../bin", args[1]) // sampan and kubectl
	var out bytes.Buffer
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(100 * time.Millisecond) {
		out.Reset()
		cmd := exec.Command(program, args[2:]...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "SAMPAN_CONFIG=" + ts.Getenv("SAMPAN_CONFIG"), "SAMPAN_LANG=en"}
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // its output decides
		if want.Match(out.Bytes()) != neg {
			ts.Stdout().Write(out.Bytes())
			return
		}
	}
	ts.Fatalf("%s: after %v %q still wants %q:\n%s", strings.Join(args[1:], " "), patience, args[1], args[0], out.String())
}
