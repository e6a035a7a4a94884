package containertest

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container"
)

var output = map[string]func(*testing.T, *Node){
	"both streams are in the log": func(t *testing.T, n *Node) {
		spec := n.Spec("both")
		n.Start(spec)
		n.WaitFor(spec.ID)
		got := n.Log(spec.Log)
		slices.Sort(got)
		if want := []string{"stderr F to stderr", "stdout F to stdout"}; !slices.Equal(got, want) {
			t.Errorf("log = %q, want %q", got, want)
		}
	},
	"what ends without a newline is a part": func(t *testing.T, n *Node) {
		spec := n.Spec("print", "line\nend")
		n.Start(spec)
		n.WaitFor(spec.ID)
		if got, want := n.Log(spec.Log), []string{"stdout F line", "stdout P end"}; !slices.Equal(got, want) {
			t.Errorf("log = %q, want %q", got, want)
		}
	},
	"a long line is written in parts": func(t *testing.T, n *Node) {
		spec := n.Spec("print", strings.Repeat("x", 40000)+"\nend\n")
		n.Start(spec)
		n.WaitFor(spec.ID)
		x := strings.Repeat("x", 16384)
		want := []string{"stdout P " + x, "stdout P " + x, "stdout F " + x[:40000-2*16384], "stdout F end"}
		if got := n.Log(spec.Log); !slices.Equal(got, want) {
			t.Errorf("log = %.60q, want parts of 16 KiB and the rest", got)
		}
	},
	"output is whole when Wait returns": func(t *testing.T, n *Node) {
		spec := n.Spec("count", "20000")
		n.Start(spec)
		n.WaitFor(spec.ID)
		checkLines(t, n.Log(spec.Log), 20000)
	},
	"a log is rotated by size": func(t *testing.T, n *Node) {
		spec := n.Spec("count", "20000")
		spec.LogSize, spec.LogFiles = 100<<10, 3
		n.Start(spec)
		n.WaitFor(spec.ID)
		for _, name := range []string{spec.Log, spec.Log + ".1", spec.Log + ".2"} {
			info, err := os.Stat(name)
			if err != nil || info.Size() > 400<<10 {
				t.Errorf("%s: %v, %v; want a file of about 100 KiB", name, info, err)
			}
		}
		if _, err := os.Stat(spec.Log + ".3"); err == nil {
			t.Error("there is a fourth log, want three")
		}
		last := append(n.Log(spec.Log+".1"), n.Log(spec.Log)...)
		if got := last[len(last)-1]; got != "stdout F line 19999" {
			t.Errorf("last line = %q", got)
		}
	},
	"a log that was moved is begun anew": func(t *testing.T, n *Node) {
		spec := n.Spec("cat")
		spec.Stdin = true
		n.Start(spec)
		in, done := n.attachWriter(spec.ID)
		fmt.Fprintln(in, "one")
		n.Until("the first line is there", func() bool { return len(n.Log(spec.Log)) == 1 })
		n.must(os.Rename(spec.Log, spec.Log+".old"))
		n.must(n.ReopenLog(t.Context(), spec.ID))
		fmt.Fprintln(in, "two")
		n.Until("the second line is there", func() bool { return len(n.Log(spec.Log)) == 1 })
		if got := n.Log(spec.Log + ".old"); !slices.Equal(got, []string{"stdout F one"}) {
			t.Errorf("old log = %q", got)
		}
		done()
	},
	"a full disk stops the log and not the container": func(t *testing.T, n *Node) {
		spec := n.Spec("count", "5000", "4")
		// Every write says that the disk is full. A node of the test's own: a log
		// may be rotated away, and the machine needs its /dev/full.
		spec.Log = filepath.Join(t.TempDir(), "full")
		n.must(unix.Mknod(spec.Log, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 7))))
		var said buffer
		listens, err := container.Connect(t.Context(), n.cfg, slog.New(slog.NewTextHandler(&said, nil)))
		n.must(err)
		defer listens.Close()
		n.Start(spec)
		if st := n.WaitFor(spec.ID); st.Code != 4 {
			t.Errorf("Code = %d, want 4", st.Code)
		}
		n.Until("the daemon warns of it", func() bool {
			return strings.Contains(said.String(), "log cannot be written") && strings.Contains(said.String(), spec.Log)
		})
	},
}

// checkLines compares a log with what "count" or "tick" prints.
func checkLines(t testing.TB, got []string, n int) {
	t.Helper()
	for i, line := range got {
		if i >= n || line != fmt.Sprintf("stdout F line %d", i) {
			t.Errorf("line %d of the log = %.80q, want line %d of %d", i, line, i, n)
			return
		}
	}
	if len(got) != n {
		t.Errorf("log has %d lines, want %d", len(got), n)
	}
}
