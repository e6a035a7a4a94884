// Package catalog registers services of processes outside the cluster, and looks
// after them, so that they are found as those inside are.
//
// Words: an instance is one such process; a service is a name and its instances.
// A service is a Service of Kubernetes that selects nothing, an instance an
// EndpointSlice of it, with what was registered in its annotations. DNS,
// kube-proxy, the gateway and kubectl therefore need to know nothing of the
// catalog, and it has no state of its own that could be lost.
//
// What is not written down is heartbeats: they are in memory, and only a change
// of an instance's state, such as its end, is a write. After a restart every
// instance that was ready has its whole TTL again, and ten seconds at least.
//
// Store is what front ends stand on; the HTTP API is one, as a handler that the
// API server calls behind its own authentication and roles. One server of a
// cloud runs a Store: two would each expire what beats at the other.
//
// Locks: a stripe of Store.writing before Store.mu before entry.mu.
package catalog

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	api "github.com/sampan-cloud/sampan/api/catalog"
)

// Config holds the settings of a Catalog. The ranges are required.
type Config struct {
	Kubeconfig  string // a file; it is read when the catalog starts
	PodCIDR     netip.Prefix
	ServiceCIDR netip.Prefix
}

// Catalog is the registered services of a cloud. It is a run.Service, and the
// handler of the API group.
type Catalog struct {
	cfg   Config
	log   *slog.Logger
	front atomic.Pointer[http.Handler] // while it runs
}

// New makes a catalog. The cluster need not be there yet.
func New(cfg Config, log *slog.Logger) *Catalog { return &Catalog{cfg: cfg, log: log} }

// Run looks after instances until ctx ends. It is ready when it knows all that
// are registered.
func (c *Catalog) Run(ctx context.Context, ready func()) error {
	conn, err := clientcmd.BuildConfigFromFlags("", c.cfg.Kubeconfig)
	if err != nil {
		return fmt.Errorf("catalog: %s: %w", c.cfg.Kubeconfig, err)
	}
	conn.QPS, conn.Burst = 2000, 4000 // a thousand may expire at once
	conn.UserAgent = "sampan-catalog"
	kube, err := kubernetes.NewForConfig(conn)
	if err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	s := NewStore(c.cfg, kube, c.log)
	front := NewHandler(s, c.log)
	defer c.front.Store(nil)
	return s.Run(ctx, func() {
		c.front.Store(&front)
		ready()
	})
}

// ServeHTTP answers below api.Root. Who asks, and whether they may, is known by
// then.
func (c *Catalog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	front := c.front.Load()
	if front == nil {
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "the catalog of services is starting", nil)
		return
	}
	(*front).ServeHTTP(w, r)
}

// Prefix is where the handler belongs.
const Prefix = "/apis/" + api.Group + "/"

// roles let those who may view, edit or administer a namespace do the same with
// what is registered in it.
//
//go:embed roles.yaml
var roles []byte

// Manifests are the objects that a cluster needs: the roles.
func Manifests() []byte { return bytes.Clone(roles) }

// resolveEvery is how often a DNS name of an instance is asked for again.
const resolveEvery = 10 * time.Second

// lookup resolves a name as this machine does.
func lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}
