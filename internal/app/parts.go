package app

import (
	"net/http"
	"net/http/pprof"
	"slices"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/internal/base/run"
	"github.com/sampan-cloud/sampan/internal/node/engine/cri"
	"github.com/sampan-cloud/sampan/internal/node/engine/local"
	"github.com/sampan-cloud/sampan/internal/platform/rollout"
)

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
	}, d.catalogParts(), apps), nil
}

// catalogParts is the catalog of services of processes outside the cluster.
func (d *daemon) catalogParts() []run.Part {
	if !d.set.Catalog.Enabled {
		return nil
	}
	return []run.Part{{Name: "catalog", Service: d.catalog}}
}

// apps is the controller of apps, where there is a gateway that they need.
func (d *daemon) apps() ([]run.Part, error) {
	if !d.set.Gateway.Enabled {
		return nil, nil
	}
	conf := d.set.rollout(d.cluster.SystemKubeconfig())
	conf.Signaller = signaller{d.engine}
	conf.Resolve, conf.Metrics = d.images.Digest, &d.metrics
	c, err := rollout.New(conf, d.log.With("part", "apps"))
	if err != nil {
		return nil, err
	}
	return []run.Part{{Name: "apps", Service: c}}, nil
}
