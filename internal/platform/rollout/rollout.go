// Package rollout makes apps of containers, scales them, and ships their next
// version in steps, back when it does badly.
//
// It is a controller like any other: it reads Apps and what it has made of
// them, and writes Deployments, Services, HTTPRoutes and the Apps' status. All
// that it must know after a crash is there. What it keeps in memory, the recent
// past of the gateway's counters and of the load, only makes it careful for a
// while when it is lost.
//
// Three things decide, each a function that a table can test: step.Decide how a
// rollout goes on, Judge whether a version is bad, scale.Scaler how many copies
// there are. Everything else carries their decisions out.
//
// What configures an app is kept in versions beside its revisions: every change
// of its own configuration, and of the ConfigMaps and Secrets that it names, by
// whichever way. Who has made it the API server writes down by itself, for which
// it has ChangedBy as a step of its admission.
//
// What wins: the App over its objects. A Deployment's replicas, a Service's
// selector and a route's weights are written back; the pod template of a
// revision is never touched after it was made.
package rollout

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/counter"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// Config holds the settings of a Controller. Kubeconfig or Rest is required.
type Config struct {
	Kubeconfig string       // a file
	Rest       *rest.Config // instead of the file

	// Counters are the URLs at which the gateways answer with their counters.
	Counters []string
	Domain   string // apps are NAME.NAMESPACE.Domain; sampan.local when empty
	// Gateway to which routes are attached; sampan-system/sampan when empty.
	GatewayNamespace, GatewayName string

	// Namespace limits the controller to one namespace; empty means all.
	Namespace string
	// Judge says whether a version is bad; the gateway's counters when nil.
	Judge Judge
	// Resolve finds the digest of an image, as IMAGE@sha256:…, when a revision
	// is made. When nil, or when it fails, the digest is that of the first copy.
	Resolve func(ctx context.Context, image string) (string, error)
	// Metrics are told what the gateways count; nobody is when nil.
	Metrics *Metrics
	// Signaller tells a copy that its files have changed, if it can find it;
	// else, and when nil, kill is run in the container.
	Signaller Signaller
}

func (c Config) withDefaults() Config {
	if c.Domain == "" {
		c.Domain = "sampan.local"
	}
	if c.GatewayNamespace == "" {
		c.GatewayNamespace = "sampan-system"
	}
	if c.GatewayName == "" {
		c.GatewayName = "sampan"
	}
	return c
}

// Manifests are the objects that a cluster needs before a Controller can run:
// the definition of App, and that the API server itself serves Metrics. The
// Controller needs the definition of HTTPRoute too, which belongs to the gateway.
func Manifests() []byte { return slices.Concat(v1alpha1.Definition(), []byte(metricsGroup)) }

// metricsGroup names no Service: the group is the API server's own.
const metricsGroup = `
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: v1beta2.custom.metrics.k8s.io
spec:
  group: custom.metrics.k8s.io
  version: v1beta2
  groupPriorityMinimum: 100
  versionPriority: 100
`

// Controller looks after the apps of a cluster. It is a run.Service.
type Controller struct {
	cfg  Config
	rest *rest.Config
	log  *slog.Logger
}

// New checks the settings. The cluster need not be there yet.
func New(cfg Config, log *slog.Logger) (*Controller, error) {
	cfg = cfg.withDefaults()
	c := &Controller{cfg: cfg, log: log}
	switch {
	case cfg.Rest != nil:
		c.rest = rest.CopyConfig(cfg.Rest)
	case cfg.Kubeconfig == "":
		return nil, fmt.Errorf("rollout: neither a kubeconfig nor a connection is given")
	}
	return c, nil
}

// connection reads the kubeconfig. It is read when the controller starts,
// because the cluster writes it when it does.
func (c *Controller) connection() (*rest.Config, error) {
	if c.rest != nil {
		return c.rest, nil
	}
	conn, err := clientcmd.BuildConfigFromFlags("", c.cfg.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("rollout: %s: %w", c.cfg.Kubeconfig, err)
	}
	return conn, nil
}

// Run looks after apps until ctx ends. It is ready when it has seen all of them.
func (c *Controller) Run(ctx context.Context, ready func()) error {
	conn, err := c.connection()
	if err != nil {
		return err
	}
	// A step from 1 to 50 copies of many apps must not wait for its turn here.
	conn.QPS, conn.Burst = 500, 1000
	conn.UserAgent = "sampan-rollout"
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	// The library wants one logger for the whole process; the first one stays.
	quiet := logr.FromSlogHandler(warnings{c.log.Handler()})
	ctrl.SetLogger(quiet)
	mgr, err := ctrl.NewManager(conn, manager.Options{
		Scheme: scheme, Logger: quiet,
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Cache: cacheOptions(c.cfg.Namespace), Client: clientOptions(),
	})
	if err != nil {
		return fmt.Errorf("rollout: %w", err)
	}
	history := counter.NewHistory()
	r := &reconciler{
		Client: mgr.GetClient(), direct: mgr.GetAPIReader(), known: mgr.GetCache(), scheme: scheme, cfg: c.cfg, log: c.log,
		gateway: object.Gateway{Namespace: c.cfg.GatewayNamespace, Name: c.cfg.GatewayName, Domain: c.cfg.Domain},
		events:  mgr.GetEventRecorder("sampan"), history: history, judge: c.cfg.Judge, scalers: newScalers(),
		measured: newMeasured(conn, asking(mgr.GetAPIReader())), digests: &digests{}, now: time.Now,
	}
	r.signaller = nearSignaller{near: c.cfg.Signaller, far: execSignaller{conn}}
	if r.judge == nil {
		r.judge = &edgeJudge{history: history}
	}
	if c.cfg.Metrics != nil {
		c.cfg.Metrics.from.Store(&meter{mgr.GetAPIReader(), history})
		defer c.cfg.Metrics.from.Store(nil)
	}
	ticks := make(chan event.TypedGenericEvent[*v1alpha1.App], 1024)
	if err := r.setup(ctx, mgr, ticks); err != nil {
		return fmt.Errorf("rollout: %w", err)
	}
	clock := &clock{
		r: r, ticks: ticks,
		source: counter.Source{URLs: c.cfg.Counters, Client: &http.Client{Timeout: 900 * time.Millisecond}},
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return mgr.Start(ctx) })
	g.Go(func() error {
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return nil
		}
		ready()
		return clock.run(ctx)
	})
	g.Go(func() error { return r.measured.run(ctx) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("rollout: %w", err)
	}
	return nil
}

// warnings lets pass what an operator should read: not that each of a dozen
// watches has begun.
type warnings struct{ slog.Handler }

// Enabled says whether a line of this level is written.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// WithAttrs keeps the limit.
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }

// WithGroup keeps the limit.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }
