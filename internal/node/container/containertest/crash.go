package containertest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container"
)

var crashes = map[string]func(*testing.T, *Node){
	"containers, logs and exits outlive the daemon": func(t *testing.T, n *Node) {
		stays, ends := n.Spec("cat"), n.Spec("tick", "100")
		stays.Stdin = true
		n.Start(stays)
		n.Start(ends)
		n.must(n.Close())
		time.Sleep(300 * time.Millisecond)
		n.Connect()
		if st := n.WaitFor(ends.ID); st.Code != 0 {
			t.Errorf("Code = %d, want 0", st.Code)
		}
		checkLines(t, n.Log(ends.Log), 100)
		exits, err := n.Exits(t.Context())
		n.must(err)
		if e := <-exits; e.ID != ends.ID {
			t.Errorf("exit = %+v, want that of %s", e, ends.ID)
		}
		in, detach := n.attachWriter(stays.ID)
		defer detach()
		io.WriteString(in, "still here\n")
		n.Until("it answers", func() bool { return len(n.Log(stays.Log)) == 1 })
	},
	"containers and logs outlive the keeper": func(t *testing.T, n *Node) {
		spec := n.Spec("tick", "300")
		n.Start(spec)
		time.Sleep(50 * time.Millisecond)
		n.KillKeeper()
		if st := n.WaitFor(spec.ID); st.Code != 0 {
			t.Errorf("Status = %+v, want code 0", st)
		}
		checkLines(t, n.Log(spec.Log), 300)
	},
	"half a line outlives the keeper": func(t *testing.T, n *Node) {
		spec := n.Spec("halves")
		n.Start(spec)
		time.Sleep(300 * time.Millisecond) // nothing of it is in the log
		n.KillKeeper()
		n.WaitFor(spec.ID)
		if log := n.Log(spec.Log); len(log) != 1 || log[0] != "stdout F first second" {
			t.Errorf("log = %q, want one whole line", log)
		}
	},
	"inputs and terminals outlive the keeper": func(t *testing.T, n *Node) {
		pipe, tty := n.Spec("cat"), n.Spec("tty")
		pipe.Stdin, tty.OCI.Process.Terminal = true, true
		n.Start(pipe)
		n.Start(tty)
		n.Until("the terminal is used", func() bool { return len(n.Log(tty.Log)) == 1 })
		n.KillKeeper()
		var out buffer
		sizes := make(chan container.Size, 1)
		n.attach(tty.ID, container.Stdio{Stdout: &out, Resize: sizes})
		in, detach := n.attachWriter(pipe.ID)
		defer detach()
		io.WriteString(in, "still here\n")
		n.Until("it answers", func() bool { return len(n.Log(pipe.Log)) == 1 })
		for i := range uint16(100) {
			select {
			case sizes <- container.Size{Width: 80 + i, Height: 20}:
			default:
			}
			time.Sleep(10 * time.Millisecond)
			if out.String() != "" {
				break
			}
		}
		if !strings.Contains(out.String(), "x20") {
			t.Errorf("attached to the terminal: %q, want its new size", out.String())
		}
	},
	"exit codes are known though the keeper was dead": func(t *testing.T, n *Node) {
		spec := n.Spec("graceful", "7")
		n.Start(spec)
		st, err := n.Status(t.Context(), spec.ID)
		n.must(err)
		n.Until("it is ready", func() bool { return len(n.Log(spec.Log)) == 1 })
		n.KillKeeper()
		n.must(unix.Kill(st.PID, unix.SIGTERM))
		if st := n.WaitFor(spec.ID); st.Code != 7 {
			t.Errorf("Status = %+v, want code 7", st)
		}
	},
	"an exec outlives the keeper": func(t *testing.T, n *Node) {
		spec := n.Spec("sleep")
		n.Start(spec)
		r, w := io.Pipe()
		var out buffer
		code := make(chan int, 1)
		go func() {
			c, err := n.Exec(t.Context(), spec.ID, n.Process("cat"), container.Stdio{Stdin: r, Stdout: &out})
			if err != nil {
				c = -1
			}
			code <- c
		}()
		io.WriteString(w, "before ")
		n.Until("it answers", func() bool { return out.String() == "before " })
		n.KillKeeper()
		io.WriteString(w, "after")
		w.Close()
		if c := <-code; c != 0 || out.String() != "before after" {
			t.Errorf("Exec = %d, output %q", c, out.String())
		}
	},
	"containers outlive daemon and keeper together": func(t *testing.T, n *Node) {
		spec := n.Spec("tick", "500")
		n.Start(spec)
		time.Sleep(50 * time.Millisecond)
		n.killBoth()
		time.Sleep(100 * time.Millisecond)
		n.Connect()
		st := n.WaitFor(spec.ID)
		if st.Code != 0 && st.Reason == "" {
			t.Errorf("Status = %+v, want code 0", st)
		}
		checkLines(t, n.Log(spec.Log), 500)
	},
	"last lines and codes are known though daemon and keeper were dead": func(t *testing.T, n *Node) {
		spec := n.Spec("count", "400", "9")
		spec.OCI.Process.Args = append(spec.OCI.Process.Args, "200ms")
		pid := n.Start(spec).PID
		n.killBoth()
		n.Until("it has ended and was reaped", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
		n.Connect()
		if st := n.WaitFor(spec.ID); st.Code != 9 {
			t.Errorf("Status = %+v, want code 9", st)
		}
		checkLines(t, n.Log(spec.Log), 400)
	},
	"what nobody could see is said": func(t *testing.T, n *Node) {
		spec := n.Spec("tick", "100")
		pid := n.Start(spec).PID
		n.killBoth()
		n.killHolder()
		n.Until("it has ended and was reaped", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
		n.Connect()
		if st := n.WaitFor(spec.ID); st.Code != 255 || st.Reason == "" {
			t.Errorf("Status = %+v, want code 255 and a reason", st)
		}
	},
	"a holder that dies is replaced": func(t *testing.T, n *Node) {
		n.Start(n.Spec("sleep"))
		for range 3 {
			n.killHolder()
			n.Until("there is another", func() bool { return n.holder() != 0 })
		}
		spec := n.Spec("tick", "100")
		pid := n.Start(spec).PID
		n.killBoth()
		n.Until("it has ended and was reaped", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
		n.Connect()
		if st := n.WaitFor(spec.ID); st.Code != 0 || st.Reason != "" {
			t.Errorf("Status = %+v, want code 0", st)
		}
	},
	"daemons that start at once share one keeper": func(t *testing.T, n *Node) {
		n.killBoth()
		keepers := make(chan int)
		const daemons = 6
		for range daemons {
			go func() {
				r, err := container.Connect(t.Context(), n.cfg, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Errorf("Connect: %v", err)
					keepers <- 0
					return
				}
				keepers <- n.KeeperPID()
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
		seen := map[int]bool{}
		for range daemons {
			seen[<-keepers] = true
		}
		if len(seen) != 1 {
			t.Errorf("%d daemons have the keepers %v, want one", daemons, seen)
		}
		n.Connect()
	},
	"the keeper upgrades in place": func(t *testing.T, n *Node) {
		spec, long := n.Spec("tick", "400"), n.Spec("sleep")
		n.Start(spec)
		n.Start(long)
		code := make(chan int, 1)
		go func() {
			c, _ := n.Exec(t.Context(), long.ID, n.Process("tick", "300"), container.Stdio{})
			code <- c
		}()
		time.Sleep(50 * time.Millisecond)
		n.must(n.Upgrade(t.Context()))
		another := n.Spec("exit", "6")
		n.Start(another)
		if st := n.WaitFor(another.ID); st.Code != 6 {
			t.Errorf("started after: %+v, want code 6", st)
		}
		if st := n.WaitFor(spec.ID); st.Code != 0 {
			t.Errorf("Status = %+v, want code 0", st)
		}
		checkLines(t, n.Log(spec.Log), 400)
		if c := <-code; c != 0 {
			t.Errorf("exec = %d, want 0", c)
		}
	},
	"no line is lost or doubled however often the keeper dies": func(t *testing.T, n *Node) {
		const containers, lines = 12, 3000
		var all []container.Spec
		for i := range containers {
			spec := n.Spec("count", fmt.Sprint(lines), fmt.Sprint(i))
			if i%2 == 0 {
				spec = n.Spec("tick", "600")
			}
			all = append(all, spec)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var killer sync.WaitGroup
		before := containers / 2
		if n.handler != "" {
			before = containers // a stock runtime takes longer than the keeper lives here
		}
		for _, spec := range all[:before] {
			n.Start(spec)
		}
		killer.Go(func() {
			for ctx.Err() == nil {
				n.KillKeeper()
				time.Sleep(time.Duration(20+rand.IntN(60)) * time.Millisecond)
			}
		})
		for _, spec := range all[before:] {
			// A start that is cut short leaves nothing: it can be repeated.
			n.Until("it starts", func() bool { _, err := n.Runtime.Start(t.Context(), spec); return err == nil })
		}
		time.Sleep(700 * time.Millisecond)
		cancel()
		killer.Wait()
		for i, spec := range all {
			st := n.WaitFor(spec.ID)
			want, count := 0, 600
			if i%2 == 1 {
				want, count = i, lines
			}
			if st.Code != want {
				t.Errorf("%s: %+v, want code %d", spec.ID, st, want)
			}
			checkLines(t, n.Log(spec.Log), count)
		}
	},
	"a start that the keeper's death cuts short leaves nothing": func(t *testing.T, n *Node) {
		for i := range 6 {
			spec := n.Spec("exit", "7")
			started := make(chan error, 1)
			go func() {
				_, err := n.Runtime.Start(t.Context(), spec)
				started <- err
			}()
			time.Sleep(time.Duration(1+i*i*3) * time.Millisecond)
			n.KillKeeper()
			if err := <-started; err != nil {
				if _, err := os.Stat(cgroupDir(spec)); !os.IsNotExist(err) {
					t.Errorf("killed after %d ms: its cgroup is left: %v", 1+i*i*3, err)
				}
				n.Until("it can be repeated", func() bool { _, err := n.Runtime.Start(t.Context(), spec); return err == nil })
			}
			if st := n.WaitFor(spec.ID); st.Code != 7 {
				t.Errorf("killed after %d ms: %+v, want code 7", 1+i*i*3, st)
			}
			n.must(n.Delete(t.Context(), spec.ID))
			if _, err := os.Stat(cgroupDir(spec)); !os.IsNotExist(err) {
				t.Errorf("killed after %d ms: its cgroup is left: %v", 1+i*i*3, err)
			}
		}
	},
}

// killBoth ends the daemon's side abruptly, as far as a test can, and the keeper.
func (n *Node) killBoth() {
	n.t.Helper()
	n.must(n.Close())
	n.KillKeeper()
}

// killHolder ends what holds the keeper's descriptors, if anything does.
func (n *Node) killHolder() {
	if pid := n.holder(); pid != 0 {
		n.must(unix.Kill(pid, unix.SIGKILL))
		n.Until("the holder is gone", func() bool { return n.holder() != pid })
	}
}

// holder is its process, or 0.
func (n *Node) holder() int {
	programs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	n.must(err)
	for _, p := range programs {
		args, _ := os.ReadFile(p)
		if strings.HasSuffix(string(args), "\x00hold\x00"+n.cfg.Dir+"/hold.sock\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(p)))
			return pid
		}
	}
	return 0
}
