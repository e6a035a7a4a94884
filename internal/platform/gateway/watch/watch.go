// Package watch keeps the routing table as the cluster's API says.
//
// Two paths lead from the API to a request. A change of endpoints goes straight
// into the upstream Set. Everything else makes the table anew and swaps it; a
// burst of changes makes one table. While the API is away the last table stays
// in force.
package watch

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	gwalpha "sigs.k8s.io/gateway-api/apis/v1alpha2"
	gwclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"
	gwinformers "sigs.k8s.io/gateway-api/pkg/client/informers/externalversions"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/oidc"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/translate"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// AuthType is the type of Secrets that hold logins: htpasswd lines under auth.
const AuthType = "gateway.sampan.dev/htpasswd"

// labelApp names the App that a Service belongs to.
const labelApp = "apps.sampan.dev/app"

// gather is how long changes are gathered before a table is made of them.
const gather = 5 * time.Millisecond

// Clients are how the API is spoken to.
type Clients struct {
	Kube    kubernetes.Interface
	Gateway gwclient.Interface
	Apps    Patch
}

// Watcher turns what the API says into tables.
type Watcher struct {
	cfg     translate.Settings
	clients Clients
	set     *upstream.Set
	log     *slog.Logger

	apply func(translate.Result)

	kube     informers.SharedInformerFactory
	secrets  []informers.SharedInformerFactory // one for each type that is read
	configs  informers.SharedInformerFactory   // ConfigMaps, as far as they hold authorities
	gateways gwinformers.SharedInformerFactory
	dirty    chan struct{}

	pairsMu sync.Mutex
	pairs   map[string]pair
}

// pair is a certificate as read from one version of a Secret.
type pair struct {
	version string
	cert    *tls.Certificate
	err     error
}

// New returns a Watcher that gives its tables to apply, one after the other.
func New(cfg translate.Settings, clients Clients, set *upstream.Set, apply func(translate.Result), log *slog.Logger) *Watcher {
	w := &Watcher{cfg: cfg, clients: clients, set: set, apply: apply, log: log, dirty: make(chan struct{}, 1), pairs: map[string]pair{}}
	// Managed fields are half of an object and nothing to us.
	slim := func(o any) (any, error) {
		if m, ok := o.(metav1.Object); ok {
			m.SetManagedFields(nil)
		}
		return o, nil
	}
	w.kube = informers.NewSharedInformerFactoryWithOptions(clients.Kube, 0, informers.WithTransform(slim))
	w.gateways = gwinformers.NewSharedInformerFactoryWithOptions(clients.Gateway, 0, gwinformers.WithTransform(slim))
	for _, kind := range []string{string(corev1.SecretTypeTLS), AuthType, oidc.SecretType} {
		w.secrets = append(w.secrets, informers.NewSharedInformerFactoryWithOptions(clients.Kube, 0, informers.WithTransform(slim),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector("type", kind).String()
			})))
	}
	w.configs = informers.NewSharedInformerFactoryWithOptions(clients.Kube, 0,
		informers.WithTransform(func(o any) (any, error) {
			if c, ok := o.(*corev1.ConfigMap); ok {
				onlyAuthorities(c)
			}
			return slim(o)
		}),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			// Every namespace has one of this name, and it is the cluster's own.
			o.FieldSelector = fields.OneTermNotEqualSelector("metadata.name", "kube-root-ca.crt").String()
		}))
	return w
}

// factories are all watches.
func (w *Watcher) factories() []factory {
	all := []factory{w.kube, w.gateways, w.configs}
	for _, s := range w.secrets {
		all = append(all, s)
	}
	return all
}

// factory is what the API's two libraries have in common.
type factory interface {
	Start(stop <-chan struct{})
	Shutdown()
	WaitForCacheSync(stop <-chan struct{}) map[reflect.Type]bool
}

const bySvc = "service"

// Run watches until ctx ends. It is ready when the first table is in force.
func (w *Watcher) Run(ctx context.Context, ready func()) error {
	if err := w.register(); err != nil {
		return err
	}
	for _, f := range w.factories() {
		f.Start(ctx.Done())
		defer f.Shutdown()
	}
	for _, f := range w.factories() {
		f.WaitForCacheSync(ctx.Done())
	}
	if ctx.Err() != nil {
		return nil
	}
	writer := newWriter(w.clients, w.known(), w.log)
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() { writer.run(ctx) })
	began := time.Now()
	result := w.build()
	w.apply(result)
	writer.write(result.Status)
	w.log.Info("routes in force", "routes", result.Table.Rules(), "took", time.Since(began))
	ready()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.dirty:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gather):
		}
		// What came while we gathered is in the listers already.
		select {
		case <-w.dirty:
		default:
		}
		began := time.Now()
		result := w.build()
		w.apply(result)
		writer.write(result.Status)
		w.log.Debug("routes changed", "routes", result.Table.Rules(), "took", time.Since(began))
	}
}

func (w *Watcher) touch() {
	select {
	case w.dirty <- struct{}{}:
	default:
	}
}

// register says which objects are watched, and what each change means.
func (w *Watcher) register() error {
	changed := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { w.touch() },
		UpdateFunc: func(before, after any) { w.updated(before, after) },
		DeleteFunc: func(any) { w.touch() },
	}
	core, api, alpha := w.kube.Core().V1(), w.gateways.Gateway().V1(), w.gateways.Gateway().V1alpha2()
	informers := []cache.SharedIndexInformer{
		core.Namespaces().Informer(), core.Nodes().Informer(),
		w.kube.Networking().V1().Ingresses().Informer(), w.kube.Networking().V1().IngressClasses().Informer(),
		api.GatewayClasses().Informer(), api.Gateways().Informer(), api.ListenerSets().Informer(), api.HTTPRoutes().Informer(), api.GRPCRoutes().Informer(), api.ReferenceGrants().Informer(),
		api.TLSRoutes().Informer(), api.BackendTLSPolicies().Informer(), alpha.TCPRoutes().Informer(), alpha.UDPRoutes().Informer(),
	}
	for _, s := range w.secrets {
		informers = append(informers, s.Core().V1().Secrets().Informer())
	}
	informers = append(informers, w.configs.Core().V1().ConfigMaps().Informer())
	for _, i := range informers {
		if _, err := i.AddEventHandler(changed); err != nil {
			return fmt.Errorf("watch the API: %w", err)
		}
	}
	services := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { w.service(o.(*corev1.Service)); w.touch() },
		UpdateFunc: func(before, after any) { w.service(after.(*corev1.Service)); w.updated(before, after) },
		DeleteFunc: func(o any) { w.set.Forget(keyOf(o)); w.touch() },
	}
	if _, err := core.Services().Informer().AddEventHandler(services); err != nil {
		return fmt.Errorf("watch the API: %w", err)
	}
	slices := w.kube.Discovery().V1().EndpointSlices().Informer()
	if err := slices.AddIndexers(cache.Indexers{bySvc: func(o any) ([]string, error) { return []string{serviceOf(o)}, nil }}); err != nil {
		return fmt.Errorf("watch the API: %w", err)
	}
	endpoints := func(o any) { w.endpoints(serviceOf(o)) }
	_, err := slices.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: endpoints, UpdateFunc: func(_, o any) { endpoints(o) }, DeleteFunc: endpoints,
	})
	if err != nil {
		return fmt.Errorf("watch the API: %w", err)
	}
	return nil
}

// updated makes a new table of a change that can matter. Most updates are of
// conditions, many of which we have written ourselves, or heartbeats of nodes.
func (w *Watcher) updated(before, after any) {
	b, ok := before.(metav1.Object)
	a, ok2 := after.(metav1.Object)
	if ok && ok2 && same(b, a) {
		return
	}
	w.touch()
}

// build makes a table of what is known now.
func (w *Watcher) build() translate.Result {
	result := translate.Translate(w.objects(), w.cfg, w.set)
	// A port that a route names for the first time learns its endpoints before
	// the route is in force.
	for key, svc := range w.set.Services() {
		for _, p := range svc.Ports() {
			if !p.Known() {
				w.endpoints(key)
				break
			}
		}
	}
	return result
}

// known is what the watches have seen of the objects whose conditions we write.
func (w *Watcher) known() known {
	api, alpha := w.gateways.Gateway().V1(), w.gateways.Gateway().V1alpha2()
	return known{
		class: func(name string) *gw.GatewayClass {
			return get[gw.GatewayClass](api.GatewayClasses().Informer(), name)
		},
		gateway: func(n types.NamespacedName) *gw.Gateway {
			return get[gw.Gateway](api.Gateways().Informer(), n.String())
		},
		set: func(n types.NamespacedName) *gw.ListenerSet {
			return get[gw.ListenerSet](api.ListenerSets().Informer(), n.String())
		},
		policy: func(n types.NamespacedName) *gw.BackendTLSPolicy {
			return get[gw.BackendTLSPolicy](api.BackendTLSPolicies().Informer(), n.String())
		},
		httpRoute: func(n types.NamespacedName) *gw.HTTPRoute {
			return get[gw.HTTPRoute](api.HTTPRoutes().Informer(), n.String())
		},
		grpcRoute: func(n types.NamespacedName) *gw.GRPCRoute {
			return get[gw.GRPCRoute](api.GRPCRoutes().Informer(), n.String())
		},
		tlsRoute: func(n types.NamespacedName) *gw.TLSRoute {
			return get[gw.TLSRoute](api.TLSRoutes().Informer(), n.String())
		},
		tcpRoute: func(n types.NamespacedName) *gwalpha.TCPRoute {
			return get[gwalpha.TCPRoute](alpha.TCPRoutes().Informer(), n.String())
		},
		udpRoute: func(n types.NamespacedName) *gwalpha.UDPRoute {
			return get[gwalpha.UDPRoute](alpha.UDPRoutes().Informer(), n.String())
		},
		ingress: func(n types.NamespacedName) *networkingv1.Ingress {
			return get[networkingv1.Ingress](w.kube.Networking().V1().Ingresses().Informer(), n.String())
		},
	}
}

func keyOf(o any) string {
	key, _ := cache.DeletionHandlingMetaNamespaceKeyFunc(o)
	return key
}

// serviceOf is the Service that an EndpointSlice is of, as NAMESPACE/NAME.
func serviceOf(o any) string {
	if t, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = t.Obj
	}
	s, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return ""
	}
	return s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]
}
