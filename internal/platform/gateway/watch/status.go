package watch

import (
	"context"
	"log/slog"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	gwalpha "sigs.k8s.io/gateway-api/apis/v1alpha2"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/translate"
)

// writer writes conditions. Every gateway of a cluster writes the same ones, so
// whoever comes first is right and the others have nothing to do.
type writer struct {
	clients Clients
	known   known
	log     *slog.Logger
	warned  map[translate.Warning]bool // what has been said and is still so
	next    chan translate.Status      // the newest; an older one that has not been begun is dropped
}

func newWriter(clients Clients, known known, log *slog.Logger) *writer {
	return &writer{clients: clients, known: known, log: log, warned: map[translate.Warning]bool{}, next: make(chan translate.Status, 1)}
}

// known looks up what the watches have last seen of an object; nil is nothing.
type known struct {
	class     func(name string) *gw.GatewayClass
	gateway   func(types.NamespacedName) *gw.Gateway
	set       func(types.NamespacedName) *gw.ListenerSet
	policy    func(types.NamespacedName) *gw.BackendTLSPolicy
	httpRoute func(types.NamespacedName) *gw.HTTPRoute
	grpcRoute func(types.NamespacedName) *gw.GRPCRoute
	tlsRoute  func(types.NamespacedName) *gw.TLSRoute
	tcpRoute  func(types.NamespacedName) *gwalpha.TCPRoute
	udpRoute  func(types.NamespacedName) *gwalpha.UDPRoute
	ingress   func(types.NamespacedName) *networkingv1.Ingress
}

// write hands over what is to be written. It does not wait for the API.
func (w *writer) write(s translate.Status) {
	select {
	case <-w.next:
	default:
	}
	w.next <- s
}

// retryAfter is how long to wait when the API did not take a status.
const retryAfter = 2 * time.Second

func (w *writer) run(ctx context.Context) {
	var again <-chan time.Time
	var last translate.Status
	for {
		select {
		case <-ctx.Done():
			return
		case last = <-w.next:
		case <-again:
		}
		again = nil
		if err := w.all(ctx, last); err != nil && ctx.Err() == nil {
			w.log.Warn("conditions not written, trying again", "err", err)
			again = time.After(retryAfter)
		}
	}
}

// all writes what differs, and returns the first failure after having tried all.
func (w *writer) all(ctx context.Context, s translate.Status) error {
	var first error
	note := func(err error) {
		if err != nil && !apierrors.IsNotFound(err) && first == nil {
			first = err
		}
	}
	get, put := metav1.GetOptions{}, metav1.UpdateOptions{}
	api, alpha, known := w.clients.Gateway.GatewayV1(), w.clients.Gateway.GatewayV1alpha2(), w.known
	for name, want := range s.Classes {
		c := api.GatewayClasses()
		note(update(known.class(name), func() (*gw.GatewayClass, error) { return c.Get(ctx, name, get) },
			func(o *gw.GatewayClass) bool {
				conditions := merge(o.Status.Conditions, want.Conditions)
				changed := !equality.Semantic.DeepEqual(o.Status.Conditions, conditions)
				o.Status.Conditions = conditions
				return changed
			},
			func(o *gw.GatewayClass) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	for name, want := range s.Gateways {
		c := api.Gateways(name.Namespace)
		note(update(known.gateway(name), func() (*gw.Gateway, error) { return c.Get(ctx, name.Name, get) },
			func(o *gw.Gateway) bool {
				next := gatewayStatus(o.Status, want)
				changed := !equality.Semantic.DeepEqual(o.Status, next)
				o.Status = next
				return changed
			},
			func(o *gw.Gateway) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	for name, want := range s.Sets {
		c := api.ListenerSets(name.Namespace)
		note(update(known.set(name), func() (*gw.ListenerSet, error) { return c.Get(ctx, name.Name, get) },
			func(o *gw.ListenerSet) bool {
				next := setStatus(o.Status, want)
				changed := !equality.Semantic.DeepEqual(o.Status, next)
				o.Status = next
				return changed
			},
			func(o *gw.ListenerSet) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	for name, want := range s.HTTPRoutes {
		c := api.HTTPRoutes(name.Namespace)
		note(update(known.httpRoute(name), func() (*gw.HTTPRoute, error) { return c.Get(ctx, name.Name, get) },
			func(o *gw.HTTPRoute) bool { return mergeParents(&o.Status.RouteStatus, want.Parents) },
			func(o *gw.HTTPRoute) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	for name, want := range s.GRPCRoutes {
		c := api.GRPCRoutes(name.Namespace)
		note(update(known.grpcRoute(name), func() (*gw.GRPCRoute, error) { return c.Get(ctx, name.Name, get) },
			func(o *gw.GRPCRoute) bool { return mergeParents(&o.Status.RouteStatus, want.Parents) },
			func(o *gw.GRPCRoute) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	for name, want := range s.TLSRoutes {
		c := api.TLSRoutes(name.Namespace)
		note(update(known.tlsRoute(name), func() (*gw.TLSRoute, error) { return c.Get(ctx, name.Name, get) },
			func(o *gw.TLSRoute) bool { return mergeParents(&o.Status.RouteStatus, want.Parents) },
			func(o *gw.TLSRoute) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	for name, want := range s.TCPRoutes {
		c := alpha.TCPRoutes(name.Namespace)
		note(update(known.tcpRoute(name), func() (*gwalpha.TCPRoute, error) { return c.Get(ctx, name.Name, get) },
			func(o *gwalpha.TCPRoute) bool { return mergeParents(&o.Status.RouteStatus, want.Parents) },
			func(o *gwalpha.TCPRoute) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	for name, want := range s.UDPRoutes {
		c := alpha.UDPRoutes(name.Namespace)
		note(update(known.udpRoute(name), func() (*gwalpha.UDPRoute, error) { return c.Get(ctx, name.Name, get) },
			func(o *gwalpha.UDPRoute) bool { return mergeParents(&o.Status.RouteStatus, want.Parents) },
			func(o *gwalpha.UDPRoute) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	for name, want := range s.Policies {
		c := api.BackendTLSPolicies(name.Namespace)
		note(update(known.policy(name), func() (*gw.BackendTLSPolicy, error) { return c.Get(ctx, name.Name, get) },
			func(o *gw.BackendTLSPolicy) bool { return mergeAncestors(&o.Status, want.Ancestors) },
			func(o *gw.BackendTLSPolicy) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	for name, want := range s.Ingresses {
		c := w.clients.Kube.NetworkingV1().Ingresses(name.Namespace)
		note(update(known.ingress(name), func() (*networkingv1.Ingress, error) { return c.Get(ctx, name.Name, get) },
			func(o *networkingv1.Ingress) bool {
				changed := !equality.Semantic.DeepEqual(o.Status.LoadBalancer, want)
				o.Status.LoadBalancer = want
				return changed
			},
			func(o *networkingv1.Ingress) error { _, err := c.UpdateStatus(ctx, o, put); return err }))
	}
	note(w.warn(ctx, s.Warnings))
	return first
}

// update changes an object where it has to be changed: as far as is known, and
// then as it is. With thousands of routes of which one has changed, the others
// cost no request. change sets fields of its argument and nothing behind them.
func update[T any](known *T, get func() (*T, error), change func(*T) bool, put func(*T) error) error {
	if known != nil {
		if k := *known; !change(&k) {
			return nil
		}
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		o, err := get()
		if err != nil {
			return err
		}
		if !change(o) {
			return nil
		}
		return put(o)
	})
}
