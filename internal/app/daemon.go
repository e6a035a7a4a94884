package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/internal/base/run"
	"github.com/sampan-cloud/sampan/internal/cluster/kube"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/engine/cri"
	"github.com/sampan-cloud/sampan/internal/node/engine/local"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/network"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/dns"
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
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	why := filepath.Join(f.RunDir, "error")
	if err := os.Remove(why); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	d := &daemon{version: version, log: log}
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

	closers []func() error // of what has been opened, in order
}

// serve builds the parts, bottom floor first, and runs them.
func (d *daemon) serve(ctx context.Context, f config.File, programs string) (err error) {
	if d.set, err = newSettings(f, programs); err != nil {
		return err
	}
	d.status = newStatus(client.Status{
		Version: d.version, Node: d.set.name, Address: d.set.addr.String(),
		Registry: net.JoinHostPort(d.set.addr.String(), strconv.Itoa(f.Registry.Port)), Images: f.Registry.Name,
		API: "https://" + net.JoinHostPort(d.set.addr.String(), strconv.Itoa(f.API.Port)),
	})
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

// open opens what has state on this machine. Each is closed in reverse.
func (d *daemon) open(ctx context.Context) (err error) {
	conf := d.set.kube()
	conf.Notify = d.note
	addons, err := dns.Manifests(dns.Deployment{
		Image: d.edgeImage(), ClusterIP: conf.DNS(), DNS: dns.Config{Domain: d.set.Network.Domain},
	})
	if err != nil {
		return err
	}
	conf.Addons = append(conf.Addons, addons)
	if d.set.Gateway.Enabled {
		if addons, err = gateway.Manifests(d.set.gateway(d.edgeImage())); err != nil {
			return err
		}
		conf.Addons = append(conf.Addons, gateway.CRDs(), addons, rollout.Manifests())
	}
	if d.cluster, err = kube.New(conf, d.log.With("part", "kubernetes")); err != nil {
		return err
	}
	auth, err := d.set.registryAuth()
	if err != nil {
		return err
	}
	if d.set.Registry.Enabled {
		if err := d.set.trust(d.cluster.CA()); err != nil {
			return err
		}
	}
	if d.images, err = image.Open(d.set.images(auth, d.cluster.CA()), d.log.With("part", "images")); err != nil {
		return err
	}
	d.closers = append(d.closers, d.images.Close)
	if d.snapshots, err = snapshot.Open(d.set.snapshots(), d.log.With("part", "snapshots")); err != nil {
		return err
	}
	d.closers = append(d.closers, d.snapshots.Close)
	if d.network, err = network.Open(d.set.network(), d.log.With("part", "network")); err != nil {
		return err
	}
	d.closers = append(d.closers, func() error { d.network.Close(); return nil })
	groups, err := cgroup.New(d.set.cgroups())
	if err != nil {
		return err
	}
	if d.containers, err = container.Connect(ctx, d.set.containers(groups), d.log.With("part", "containers")); err != nil {
		return err
	}
	d.closers = append(d.closers, d.containers.Close)
	d.engine, err = engine.Open(d.set.engine(), engine.Parts{
		Runtime: d.containers, Network: d.network, Snapshots: d.snapshots, Images: d.images, Seccomp: seccomp.Default,
	}, d.log.With("part", "engine"))
	return err
}

func (d *daemon) close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	return errors.Join(errs...)
}

// parts are the services in the order in which they start.
func (d *daemon) parts() ([]run.Part, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", d.status)
	// For those who look into a daemon that is slow or large; only root may ask.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	node := local.New(local.Config{LogDir: d.set.data("log", "containers"), BuildDeb: d.buildDeb}, d.engine, d.images, d.log.With("part", "local"))
	mux.Handle("/v1/", node)
	server := cri.New(cri.Config{Socket: d.set.criSocket(), Version: d.version, ImageDir: d.set.data("images")}, d.engine, d.log.With("part", "cri"))
	registries, err := d.registries()
	if err != nil {
		return nil, err
	}
	apps, err := d.apps()
	if err != nil {
		return nil, err
	}
	return slices.Concat([]run.Part{
		{Name: "control", Service: serveUnix(client.Socket(d.set.RunDir), mux)},
		{Name: "network", Service: d.network},
		{Name: "snapshots", Service: d.snapshots},
		{Name: "engine", Service: d.engine},
		{Name: "local", Service: node},
		{Name: "cri", Service: server},
	}, registries, []run.Part{
		{Name: "edge", Service: run.Func(d.importEdge)},
		{Name: "kubernetes", Service: d.cluster, Start: 3 * time.Minute, Stop: 30 * time.Second},
	}, apps), nil
}

// apps is the controller of apps, where there is a gateway that they need.
func (d *daemon) apps() ([]run.Part, error) {
	if !d.set.Gateway.Enabled {
		return nil, nil
	}
	c, err := rollout.New(d.set.rollout(d.cluster.SystemKubeconfig()), d.log.With("part", "apps"))
	if err != nil {
		return nil, err
	}
	return []run.Part{{Name: "apps", Service: c}}, nil
}
