// Command cluster is Kubernetes as Sampan runs it, put on any engine's CRI
// socket: it shows what the same kubelet makes of another engine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sampan-cloud/sampan/internal/cluster/kube"
)

func main() {
	var c kube.Config
	flag.StringVar(&c.Dir, "dir", "", "state; the file ready appears there once the node is Ready")
	flag.StringVar(&c.RunDir, "run", "", "sockets")
	flag.StringVar(&c.NodeName, "name", "", "of the node")
	flag.StringVar(&c.CRISocket, "cri", "", "the engine's CRI socket")
	flag.TextVar(&c.NodeIP, "address", netip.Addr{}, "of the node")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, c)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// serve runs the cluster until ctx ends, and takes away what it left.
func serve(ctx context.Context, c kube.Config) error {
	cluster, err := kube.New(c, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	var marked error
	err = cluster.Run(ctx, func() { marked = os.WriteFile(filepath.Join(c.Dir, "ready"), nil, 0o644) })
	return errors.Join(err, marked, kube.Cleanup(c))
}
