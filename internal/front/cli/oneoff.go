package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// oneOff is a container on this node for as long as its command runs.
type oneOff struct {
	workload
	remove      bool
	tty         bool
	interactive bool
	network     string
	runtime     string
	volumes     []string
}

// request is what the daemon is asked for.
func (o oneOff) request(t text) (local.Run, error) {
	r := local.Run{
		Image: o.image, Name: o.name, Args: o.args, Env: o.env,
		TTY: o.tty, Stdin: o.interactive, Remove: o.remove, Network: o.network, Runtime: o.runtime,
	}
	if o.publish > 0 {
		r.Publish = []string{fmt.Sprintf("%d:%d", o.publish, orElse(o.port, o.publish))}
	}
	for _, v := range o.volumes {
		p := strings.Split(v, ":")
		if len(p) < 2 || len(p) > 3 || !filepath.IsAbs(p[1]) || len(p) == 3 && p[2] != "ro" && p[2] != "rw" {
			return r, fmt.Errorf("%s: %w", t.get("run.badvolume", v), fault.Invalid)
		}
		source, err := filepath.Abs(p[0])
		if err != nil {
			return r, err
		}
		r.Mounts = append(r.Mounts, local.Mount{Source: source, Target: p[1], ReadOnly: len(p) == 3 && p[2] == "ro"})
	}
	var err error
	if o.cpu != "" {
		if r.CPU, err = processors(o.cpu, t); err != nil {
			return r, err
		}
	}
	if o.memory != "" {
		if r.Memory, err = bytesOf(o.memory, t); err != nil {
			return r, err
		}
	}
	return r, nil
}

func orElse(n, other int) int {
	if n == 0 {
		return other
	}
	return n
}

// processors reads 1.5 or 1500m.
func processors(s string, t text) (float64, error) {
	scale := 1.0
	n, milli := strings.CutSuffix(s, "m")
	if milli {
		scale = 1000
	}
	f, err := strconv.ParseFloat(n, 64)
	if err != nil || f <= 0 {
		return 0, fmt.Errorf("%s: %w", t.get("run.badcpu", s), fault.Invalid)
	}
	return f / scale, nil
}

// bytesOf reads 512Mi, 1G or 4096.
func bytesOf(s string, t text) (int64, error) {
	scale := int64(1)
	n := s
	for unit, by := range map[string]int64{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9} {
		if cut, ok := strings.CutSuffix(s, unit); ok {
			n, scale = cut, by
		}
	}
	v, err := strconv.ParseInt(n, 10, 64)
	if err != nil || v <= 0 {
		return 0, fmt.Errorf("%s: %w", t.get("run.badmemory", s), fault.Invalid)
	}
	return v * scale, nil
}

// runOnce runs a one-off container with this terminal as its own.
func (a *app) runOnce(ctx context.Context, o oneOff) error {
	n, err := a.node()
	if err != nil {
		return err
	}
	r, err := o.request(a.text)
	if err != nil {
		return err
	}
	return a.session(ctx, n, "/v1/run", r.TTY, r.Stdin, func(w, h uint16) any {
		r.Width, r.Height = w, h
		return r
	})
}

// session connects this terminal to a process on the node, and ends with its
// exit code.
func (a *app) session(ctx context.Context, n *client.Node, path string, tty, stdin bool, request func(width, height uint16) any) error {
	std := client.Stdio{Out: a.Out, Err: a.Err}
	if stdin {
		std.In = a.In
	}
	var width, height uint16
	signals := make(chan os.Signal, 8)
	defer signal.Stop(signals)
	if in, ok := a.In.(*os.File); tty {
		if !ok || !term.IsTerminal(int(in.Fd())) {
			return fmt.Errorf("%s: %w", a.text.get("run.notty"), fault.Precondition)
		}
		state, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
		defer term.Restore(int(in.Fd()), state)
		width, height = terminalSize(in)
		sizes := make(chan [2]uint16, 1)
		std.Sizes = sizes
		resized := make(chan os.Signal, 1)
		signal.Notify(resized, syscall.SIGWINCH)
		defer signal.Stop(resized)
		go func() {
			for range resized {
				w, h := terminalSize(in)
				select {
				case sizes <- [2]uint16{w, h}:
				case <-ctx.Done():
					return
				}
			}
		}()
	} else {
		// The process decides what they mean, so they do not end this one.
		ctx = context.WithoutCancel(ctx)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		std.Signals = signals
	}
	code, err := n.Session(ctx, path, request(width, height), std)
	if err != nil {
		return err
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

func terminalSize(f *os.File) (width, height uint16) {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 80, 24
	}
	return uint16(w), uint16(h)
}
