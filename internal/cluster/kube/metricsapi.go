package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	openapi "k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
	controlplane "k8s.io/kubernetes/pkg/controlplane/apiserver"
	metricsapi "sigs.k8s.io/metrics-server/pkg/api"
	metricsopenapi "sigs.k8s.io/metrics-server/pkg/api/generated/openapi"
	"sigs.k8s.io/metrics-server/pkg/scraper"
	"sigs.k8s.io/metrics-server/pkg/scraper/client"
	"sigs.k8s.io/metrics-server/pkg/scraper/client/resource"
	"sigs.k8s.io/metrics-server/pkg/storage"
)

const (
	scrapeEvery = 5 * time.Second
	// firstScrapes is how often while there are no figures yet: a rate needs two
	// samples, and a cluster that has just started should not look idle.
	firstScrapes  = 3 * time.Second
	scrapeTimeout = 10 * time.Second
)

// metricsStore is the part of metrics-server that keeps the last two samples.
type metricsStore interface {
	metricsapi.MetricsGetter
	Store(*storage.MetricsBatch)
	Ready() bool
}

// metricsAPI answers `kubectl top` and autoscalers. It is metrics-server's own
// code, served as a group of the API server itself: there is no second server
// to authenticate, reach or wait for.
type metricsAPI struct {
	store   metricsStore
	scraper scraper.Scraper
	nodes   informers.SharedInformerFactory
	pods    metadatainformer.SharedInformerFactory
}

func newMetricsAPI(cfg Config, loopback *rest.Config) (*metricsAPI, error) {
	core, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfig(loopback)
	if err != nil {
		return nil, err
	}
	kubelets, err := resource.NewForConfig(&client.KubeletClientConfig{
		Scheme:              "https",
		DefaultPort:         cfg.KubeletPort,
		UseNodeStatusPort:   true,
		AddressTypePriority: []corev1.NodeAddressType{corev1.NodeInternalIP},
		Client: rest.Config{TLSClientConfig: rest.TLSClientConfig{
			CertFile: cfg.pair(certKubeletClient).cert,
			KeyFile:  cfg.pair(certKubeletClient).key,
			CAFile:   cfg.pair("ca").cert,
		}},
	})
	if err != nil {
		return nil, err
	}
	m := &metricsAPI{
		store: storage.NewStorage(scrapeEvery),
		nodes: informers.NewSharedInformerFactory(core, 0),
		pods: metadatainformer.NewFilteredSharedInformerFactory(meta, 0, metav1.NamespaceAll, func(o *metav1.ListOptions) {
			o.FieldSelector = "status.phase=Running"
		}),
	}
	m.scraper = scraper.NewScraper(m.nodes.Core().V1().Nodes().Lister(), kubelets, scrapeTimeout, nil)
	return m, nil
}

// install adds the group to server, and the scraping to what it runs.
func (m *metricsAPI) install(server *genericapiserver.GenericAPIServer) error {
	pods := m.pods.ForResource(corev1.SchemeGroupVersion.WithResource("pods"))
	if err := metricsapi.Install(m.store, pods.Lister(), m.nodes.Core().V1().Nodes().Lister(), server, nil); err != nil {
		return err
	}
	return server.AddPostStartHook("sampan-metrics", func(hook genericapiserver.PostStartHookContext) error {
		m.nodes.Start(hook.Done())
		m.pods.Start(hook.Done())
		go m.scrape(hook.Context)
		return nil
	})
}

func (m *metricsAPI) scrape(ctx context.Context) {
	m.nodes.WaitForCacheSync(ctx.Done())
	for ctx.Err() == nil {
		m.store.Store(m.scraper.Scrape(ctx))
		pause := scrapeEvery
		if !m.store.Ready() {
			pause = firstScrapes
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// describeMetrics adds the group's types to the OpenAPI documents; a server
// refuses to install a group whose types it cannot describe.
func describeMetrics(c *genericapiserver.Config) {
	v2 := c.OpenAPIConfig.GetDefinitions
	c.OpenAPIConfig.GetDefinitions = func(ref openapi.ReferenceCallback) map[string]openapi.OpenAPIDefinition {
		return withMetrics(v2(ref), ref)
	}
	v3 := c.OpenAPIV3Config
	withMetrics(v3.Definitions, func(name string) spec.Ref {
		name, _ = v3.GetDefinitionName(name)
		return spec.MustCreateRef("#/components/schemas/" + openapi.EscapeJsonPointer(name))
	})
}

func withMetrics(defs map[string]openapi.OpenAPIDefinition, ref openapi.ReferenceCallback) map[string]openapi.OpenAPIDefinition {
	for name, d := range metricsopenapi.GetOpenAPIDefinitions(ref) {
		if _, ok := defs[name]; !ok {
			defs[name] = d
		}
	}
	return defs
}

// groupPriorities orders the groups in discovery: the first group that has a
// kind is what `kubectl get KIND` means. Upstream's list for its own groups is
// not exported; this is the same order.
func groupPriorities() map[schema.GroupVersion]controlplane.APIServicePriority {
	out := controlplane.DefaultGenericAPIServicePriorities()
	for _, g := range []struct {
		group    string
		priority int32
		versions map[string]int32
	}{
		{"", 18000, map[string]int32{"v1": 1}},
		{"apps", 17800, map[string]int32{"v1": 15}},
		{"autoscaling", 17500, map[string]int32{"v1": 15, "v2": 30}},
		{"batch", 17400, map[string]int32{"v1": 15}},
		{"networking.k8s.io", 17200, map[string]int32{"v1": 15, "v1beta1": 9}},
		{"policy", 17100, map[string]int32{"v1": 15}},
		{"storage.k8s.io", 16800, map[string]int32{"v1": 15, "v1beta1": 9, "v1alpha1": 1}},
		{"scheduling.k8s.io", 16600, map[string]int32{"v1": 15, "v1alpha2": 2}},
		{"node.k8s.io", 16300, map[string]int32{"v1": 15}},
		{"resource.k8s.io", 16200, map[string]int32{"v1": 21, "v1beta2": 15, "v1beta1": 9, "v1alpha3": 1}},
		{"metrics.k8s.io", 100, map[string]int32{"v1beta1": 100}},
	} {
		for version, priority := range g.versions {
			out[schema.GroupVersion{Group: g.group, Version: version}] = controlplane.APIServicePriority{Group: g.priority, Version: priority}
		}
	}
	return out
}
