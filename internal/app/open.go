package app

import (
	"context"
	"net/http"

	"k8s.io/apiserver/pkg/admission"

	"github.com/sampan-cloud/sampan/internal/cluster/kube"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/network"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/internal/platform/catalog"
	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/dns"
	"github.com/sampan-cloud/sampan/internal/platform/rollout"
)

// open opens what has state on this machine. Each is closed in reverse.
func (d *daemon) open(ctx context.Context) error {
	// The cluster first: its authority signs the registry's certificate.
	if err := d.openCluster(); err != nil {
		return err
	}
	return d.openNode(ctx)
}

// openCluster prepares Kubernetes, with what it finds in itself at every start.
func (d *daemon) openCluster() (err error) {
	conf := d.set.kube()
	conf.Notify = d.note
	conf.AddonsAfter = d.edgeThere
	conf.APIs = map[string]http.Handler{}
	edge := d.edgeImage()
	names, err := dns.Manifests(dns.Deployment{Image: edge, ClusterIP: conf.DNS(), DNS: dns.Config{Domain: d.set.Network.Domain}})
	if err != nil {
		return err
	}
	conf.Addons = append(conf.Addons, names)
	if d.set.Gateway.Enabled {
		deployment, err := d.set.gateway(edge)
		if err != nil {
			return err
		}
		routes, err := gateway.Manifests(deployment)
		if err != nil {
			return err
		}
		conf.Addons = append(conf.Addons, gateway.CRDs(), routes, rollout.Manifests())
		conf.APIs[rollout.MetricsPrefix], conf.Described = &d.metrics, append(conf.Described, rollout.MetricsResources())
		conf.Admission = map[string]admission.Interface{"ChangedBy": rollout.ChangedBy{Controller: kube.SystemUser}}
	}
	if d.set.Catalog.Enabled {
		conf.Addons = append(conf.Addons, catalog.Manifests())
		// It is made after the cluster, and asked once that runs.
		conf.APIs[catalog.Prefix] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.catalog.ServeHTTP(w, r)
		})
	}
	if d.cluster, err = kube.New(conf, d.log.With("part", "kubernetes")); err != nil {
		return err
	}
	d.catalog = catalog.New(d.set.catalog(d.cluster.SystemKubeconfig()), d.log.With("part", "catalog"))
	return nil
}

// openNode opens the node's stores, its network, its keeper and its engine.
func (d *daemon) openNode(ctx context.Context) error {
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
	parts := engine.Parts{Network: d.network, Snapshots: d.snapshots, Images: d.images, Seccomp: seccomp.Default}
	scopes, err := d.set.openScopes(groups)
	if err != nil {
		return err
	}
	if scopes != nil {
		d.closers = append(d.closers, scopes.Close)
		if _, err := scopes.Slice(ctx, d.set.cgroupRoot()); err != nil {
			return err
		}
		parts.Scopes = scopes
	}
	if d.containers, err = container.Connect(ctx, d.set.settled(d.set.containers(groups), scopes), d.log.With("part", "containers")); err != nil {
		return err
	}
	d.closers = append(d.closers, d.containers.Close)
	parts.Runtime = d.containers
	d.engine, err = engine.Open(d.set.engine(), parts, d.log.With("part", "engine"))
	return err
}
