// Command engine is the node engine without Kubernetes, for what is promised of
// the engine alone: the same packages, put together as the daemon does it, behind
// the same two sockets.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/run"
	"github.com/sampan-cloud/sampan/internal/base/runfs"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/engine/cri"
	"github.com/sampan-cloud/sampan/internal/node/engine/local"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/network"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

type config struct{ data, run, keeper, name string }

func main() {
	var c config
	flag.StringVar(&c.data, "data", "", "data directory")
	flag.StringVar(&c.run, "run", "", "run directory")
	flag.StringVar(&c.keeper, "keeper", "", "the keeper's program")
	flag.StringVar(&c.name, "name", "", "of bridge, table and cgroup")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

// serve runs the engine until ctx ends, and then takes away all that it made.
func serve(ctx context.Context, c config, log *slog.Logger) (err error) {
	if err := runfs.Ensure(c.run); err != nil {
		return err
	}
	images, err := image.Open(image.Config{Root: filepath.Join(c.data, "images")}, log)
	if err != nil {
		return err
	}
	defer images.Close()
	snapshots, err := snapshot.Open(snapshot.Config{Root: filepath.Join(c.data, "snapshots")}, log)
	if err != nil {
		return err
	}
	defer snapshots.Close()
	pods, err := network.Open(network.Config{
		Dir: filepath.Join(c.data, "network"), NSDir: filepath.Join(c.run, "netns"), Bridge: c.name, Table: c.name,
		Prefix: netip.MustParsePrefix("10.244.0.0/16"), Pool: 64,
	}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pods.Down(context.Background())) }()
	groups, err := cgroup.New(cgroup.Config{})
	if err != nil {
		return err
	}
	containers, err := container.Connect(ctx, container.Config{Dir: filepath.Join(c.run, "keeper"), Keeper: c.keeper, Cgroups: groups}, log)
	if err != nil {
		return err
	}
	defer func() {
		ctx := context.Background()
		err = errors.Join(err, containers.Down(ctx))
		if group, missing := groups.Open("/" + c.name); missing == nil {
			err = errors.Join(err, group.Delete(ctx))
		}
	}()
	e, err := engine.Open(engine.Config{
		Dir: filepath.Join(c.data, "engine"), RunDir: filepath.Join(c.run, "engine"), CgroupParent: "/" + c.name, Pause: []string{c.keeper, "pause"},
	}, engine.Parts{Runtime: containers, Network: pods, Snapshots: snapshots, Images: images, Seccomp: seccomp.Default}, log)
	if err != nil {
		return err
	}
	node := local.New(local.Config{LogDir: filepath.Join(c.data, "logs")}, e, images, log)
	defer node.Close()
	group := run.Group{Parts: []run.Part{
		{Name: "network", Service: pods},
		{Name: "snapshots", Service: snapshots},
		{Name: "engine", Service: e},
		{Name: "cri", Service: cri.New(cri.Config{Socket: filepath.Join(c.run, "cri.sock"), ImageDir: filepath.Join(c.data, "images")}, e, log)},
		{Name: "local", Service: run.Func(func(ctx context.Context, ready func()) error { return listen(ctx, client.Socket(c.run), node, ready) })},
	}}
	return group.Run(ctx, func() {})
}

// listen serves h on a unix socket.
func listen(ctx context.Context, path string, h http.Handler, ready func()) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	ready()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
