package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/internal/base/run"
	"github.com/sampan-cloud/sampan/internal/base/runfs"
	"github.com/sampan-cloud/sampan/internal/cluster/kube"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/network"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/internal/platform/catalog"
	"github.com/sampan-cloud/sampan/internal/platform/rollout"
)

// Server runs the daemon of one node until ctx ends. programs is the directory
// of the programs that it starts. Why it ended by itself is also written where
// `sampan up` looks.
func Server(ctx context.Context, f config.File, programs, version string, log *slog.Logger) error {
	lock, err := lockDataDir(f)
	if err != nil {
		return err // another daemon's, so nothing of it is touched
	}
	defer lock.Close()
	if err := runfs.Ensure(f.RunDir); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	setGCPercent(startGCPercent)
	why := filepath.Join(f.RunDir, "error")
	if err := os.Remove(why); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	d := &daemon{version: version, log: log, edgeThere: make(chan struct{})}
	err = d.serve(ctx, f, programs)
	if err != nil {
		err = errors.Join(err, os.WriteFile(why, []byte(err.Error()+"\n"), 0o600))
	}
	return err
}

// daemon is the parts of a node that run in this process.
type daemon struct {
	version string
	log     *slog.Logger
	set     settings
	status  *status

	images     *image.Store
	snapshots  *snapshot.Store
	network    *network.Network
	containers *container.Runtime
	engine     *engine.Engine
	cluster    *kube.Cluster
	catalog    *catalog.Catalog
	metrics    rollout.Metrics // what autoscalers ask, once apps have started
	edgeThere  chan struct{}   // closed once the edge's image is unpacked

	closers []func() error // of what has been opened, in order
}

// serve builds the parts, bottom floor first, and runs them.
func (d *daemon) serve(ctx context.Context, f config.File, programs string) (err error) {
	if d.set, err = newSettings(f, programs); err != nil {
		return err
	}
	if err := d.set.checkRuntimes(); err != nil {
		return err
	}
	about := client.Status{
		Version: d.version, Node: d.set.name, Address: d.set.addr.String(),
		API: "https://" + net.JoinHostPort(d.set.addr.String(), strconv.Itoa(f.API.Port)),
	}
	if f.Registry.Enabled {
		about.Registry, about.Images = net.JoinHostPort(about.Address, strconv.Itoa(f.Registry.Port)), f.Registry.Name
	}
	d.status = newStatus(about)
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.open(ctx); err != nil {
		return err
	}
	parts, err := d.parts()
	if err != nil {
		return err
	}
	group := run.Group{Parts: parts, Notify: d.note}
	ctx, cancel := context.WithCancel(ctx)
	var settling sync.WaitGroup
	defer settling.Wait()
	defer cancel()
	return group.Run(ctx, func() {
		settling.Go(func() { giveBack(ctx, d.log) })
		d.status.ready()
		d.log.Info("ready", "node", d.set.name, "address", d.set.addr, "version", d.version)
	})
}

func (d *daemon) note(e run.Event) {
	d.status.note(e)
	if e.State != run.Starting {
		d.log.Info("part "+string(e.State), "part", e.Part, "took", e.Took, "err", e.Err)
	}
}

func (d *daemon) close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}
