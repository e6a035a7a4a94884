// Package kube runs upstream Kubernetes in this process: etcd, the API server,
// the controllers, the scheduler, the kubelet and kube-proxy, each started by
// upstream's own steps from typed options. It is the only door to
// k8s.io/kubernetes and to etcd.
//
// Words: a component is one of those six, or one of the small services beside
// them (add-ons, volumes, certificates). A component that can be started twice
// in one process is supervised and restarted with a growing pause. etcd, the
// controllers, the kubelet and kube-proxy leave goroutines, names or listeners
// behind when they end, so their end is the cluster's, and whoever runs the
// process starts it again.
//
// Surprises: Kubernetes keeps feature gates, its metrics registry and its
// logger in package variables. A process therefore runs one Cluster, and Run may
// be called once.
//
// All state is below Config.Dir: etcd's database with fsync on, keys and
// certificates (files 0600), and the kubelet's directory. A Cluster that was
// killed at any moment comes back with everything the API server had confirmed.
package kube

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/base/run"
)

// Cluster is a Kubernetes server and node.
type Cluster struct {
	cfg   Config
	certs *certificates
	log   *slog.Logger
}

// New checks cfg and prepares keys, certificates and configuration files. It
// starts nothing.
func New(cfg Config, log *slog.Logger) (*Cluster, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	for _, dir := range []string{cfg.Dir, cfg.RunDir, cfg.pki(), cfg.VolumesDir, cfg.path("audit")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
	}
	certs, err := newCertificates(cfg, time.Now)
	if err != nil {
		return nil, fmt.Errorf("cluster: certificates: %w", err)
	}
	// Before etcd makes its database: a database without its key is an error.
	if err := writePolicies(cfg); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return &Cluster{cfg: cfg, certs: certs, log: log}, nil
}

// AdminKubeconfig returns the path of the administrator's kubeconfig. It is
// there as soon as New has returned.
func (c *Cluster) AdminKubeconfig() string { return c.cfg.adminKubeconfig() }

// SystemKubeconfig returns the path of the kubeconfig for what else runs in this
// process: it may do everything, and is told apart from the administrator.
func (c *Cluster) SystemKubeconfig() string { return c.cfg.kubeconfig(idSystem) }

// CA returns the file with the authority that signs the cluster's certificates.
func (c *Cluster) CA() string { return c.cfg.pair("ca").cert }

// ServerCertificate returns the files of one of Config.Servers.
func (c *Cluster) ServerCertificate(name string) (cert, key string) {
	p := c.cfg.pair(name)
	return p.cert, p.key
}

// Run starts the components in order, calls ready when the node is Ready and
// the add-ons are applied, and stops them in reverse when ctx ends.
func (c *Cluster) Run(ctx context.Context, ready func()) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	useLogger(c.log)
	if err := setFeatureGates(c.cfg); err != nil {
		return err
	}
	clients, err := newClients(c.cfg)
	if err != nil {
		return err
	}
	began := time.Now()
	group := run.Group{
		Parts: []run.Part{
			{Name: "etcd", Service: &etcd{cfg: c.cfg, log: c.log}},
			{Name: "kube-apiserver", Service: c.supervised("kube-apiserver", &apiServer{cfg: c.cfg}), Start: 2 * time.Minute, Stop: 20 * time.Second},
			{Name: "kube-controller-manager", Service: &controllers{cfg: c.cfg}},
			{Name: "kube-scheduler", Service: c.supervised("kube-scheduler", &scheduler{cfg: c.cfg})},
			{Name: "kube-proxy", Service: &proxy{cfg: c.cfg}},
			{Name: "kubelet", Service: &kubelet{cfg: c.cfg, log: c.log}},
			{Name: "volumes", Service: newVolumes(ctx, c.cfg, clients, c.log)},
			{Name: "certificates", Service: c.supervised("certificates", &renewal{certs: c.certs, log: c.log})},
			{Name: "addons", Service: &addons{cfg: c.cfg, clients: clients}},
			{Name: "node", Service: &nodeReady{cfg: c.cfg, clients: clients, since: began, log: c.log}, Start: 2 * time.Minute},
		},
		Notify: func(e run.Event) {
			if c.cfg.Notify != nil {
				c.cfg.Notify(e)
			}
			if e.State == run.Ready {
				c.log.Debug("component ready", "component", e.Part, "took", e.Took, "since", time.Since(began))
			}
		},
	}
	return group.Run(ctx, ready)
}

// lock makes sure that no other process serves this data directory: etcd would
// wait for its database without a word.
func (c *Cluster) lock() (unlock func(), err error) {
	path := filepath.Join(c.cfg.Dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("cluster: %s is in use by another process: %w", c.cfg.Dir, fault.Precondition)
	}
	return func() { f.Close() }, nil
}
