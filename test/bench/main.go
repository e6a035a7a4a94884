// Command bench measures Sampan against its peers, all in one run on one
// machine, and prints tables; every value goes to a JSON file.
//
//	bench -suite cloud     the whole: up, memory, one-offs, pods, deployments
//	bench -suite engine    the engine alone: starts, CRI, a thousand containers
//	bench -suite apps      what users' traffic meets: the gateway
//
// The peers are docker.io, podman, runc, crun, nginx and haproxy from Debian, and
// containerd 2 and Caddy built from their Go modules. A peer that does not work on the machine is left
// out, and its row says why. Figures are held to goals, and a goal that is
// missed is printed; docs/promises.md has them all.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// bench is one run.
type bench struct {
	source string // the repository
	dir    string // where everything of the run lies
	image  peer.Image
	only   string // figures whose name has this
	rounds int    // of figures that take milliseconds
	burst  int    // containers at once
	report measure.Report
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var b bench
	suite := flag.String("suite", "cloud", "what to measure: cloud, engine or apps")
	out := flag.String("json", "", "`file` for every value")
	promises := flag.String("promises", "", "table of promises, a `file` to write the figures into")
	flag.StringVar(&b.only, "only", "", "measure only figures whose name contains `text`")
	flag.IntVar(&b.rounds, "rounds", 20, "rounds of what takes milliseconds; what takes seconds gets fewer")
	flag.IntVar(&b.burst, "burst", 1000, "containers started at once")
	flag.Parse()
	b.report.Command = strings.Join(os.Args[1:], " ")
	err := b.run(ctx, *suite)
	if *out != "" && len(b.report.Figures) > 0 {
		err = errors.Join(err, b.report.Write(*out))
	}
	if *promises != "" {
		target := map[string]string{"cloud": "bench", "engine": "bench-engine", "apps": "bench-apps"}[*suite]
		err = errors.Join(err, b.report.Update(*promises, target))
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, suite string) (err error) {
	suites := map[string]func(context.Context) error{"cloud": b.cloud, "engine": b.engine, "apps": b.apps}
	measured, ok := suites[suite]
	switch {
	case !ok:
		return fmt.Errorf("suite %q is none of cloud, engine and apps", suite)
	case os.Geteuid() != 0:
		return errors.New("containers are started for real: run as root")
	case b.rounds < 1 || b.burst < 1:
		return errors.New("-rounds and -burst must be at least 1")
	}
	// Two runs at once would measure each other. The name is abstract: no file
	// stays of it, however the run ends.
	alone, err := net.Listen("unix", "@sampan-bench")
	if err != nil {
		return fmt.Errorf("another benchmark runs on this machine: %w", err)
	}
	defer alone.Close()
	if b.source, err = os.Getwd(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("/var/tmp", "sampan-bench"); err != nil { // not a tmpfs: peers want overlay on a disk
		return err
	}
	defer func() { err = errors.Join(err, b.clean()) }()
	if b.report.Machine, err = measure.ThisMachine(); err != nil {
		return err
	}
	if b.image, err = peer.BuildImage(ctx, b.source, b.dir); err != nil {
		return err
	}
	fmt.Println(b.report.Machine)
	return errors.Join(measured(ctx), ctx.Err())
}

// clean deletes the run's directory. Each peer has deleted its own before; one
// that could not has said why, and may still have mounts there.
func (b *bench) clean() error {
	left, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range left {
		if !e.IsDir() {
			err = errors.Join(err, os.Remove(filepath.Join(b.dir, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(b.dir))
}

// wants tells whether any of these figures is to be measured.
func (b *bench) wants(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, b.only) })
}

// show prints a figure and keeps it.
func (b *bench) show(f measure.Figure) error {
	b.report.Figures = append(b.report.Figures, f)
	return f.Text(os.Stdout)
}

// say tells what is being done, beside the tables.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, "… "+format+"\n", args...) }
