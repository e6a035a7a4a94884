// Sampan-keeper starts a node's containers and keeps them: their processes,
// terminals, inputs and logs. The daemon starts it; it outlives the daemon.
//
//	sampan-keeper --dir DIR    keep the containers of DIR
//	sampan-keeper hold SOCKET  hold what the keeper has open, for when it dies
//	sampan-keeper pause        be the first process of a shared process namespace
//	sampan-keeper aside ...    run an OCI runtime that cannot live with hybrid cgroups
//	sampan-keeper within ...   run a program in a container's cgroup
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/keeper"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "pause" {
		keeper.Pause()
		return
	}
	do := run
	if len(os.Args) == 3 && os.Args[1] == "hold" {
		do = func() error { return keeper.Hold(os.Args[2]) }
	}
	if len(os.Args) > 1 && os.Args[1] == keeper.AsideWord {
		do = func() error { return keeper.Aside(os.Args[2:]) }
	}
	if len(os.Args) > 1 && os.Args[1] == keeper.WithinWord {
		do = func() error { return keeper.Within(os.Args[2:]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "sampan-keeper:", err)
		if errors.Is(err, keeper.ErrTaken) {
			os.Exit(keeper.ExitTaken)
		}
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("dir", "", "directory of the keeper's socket and its containers' state")
	flag.Parse()
	if *dir == "" {
		return fmt.Errorf("--dir is required")
	}
	file, err := os.OpenFile(filepath.Join(*dir, keeper.LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	// A hangup of the terminal that the daemon was started from is not ours.
	signal.Ignore(unix.SIGHUP, unix.SIGINT)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	return keeper.Run(ctx, keeper.Config{Dir: *dir}, slog.New(slog.NewTextHandler(file, nil)))
}
