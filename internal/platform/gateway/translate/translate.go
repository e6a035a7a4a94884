// Package translate makes a routing table of what users wrote, and tells them
// object by object what became of it.
//
// It is a function of objects to a table, certificates and conditions: it asks
// nobody and keeps nothing, so each gateway of a cluster comes to the same
// answers and may write them.
package translate

import (
	"crypto/tls"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// Objects is what is in the cluster. The functions look up one by namespace and
// name, and return nil when there is none.
type Objects struct {
	Classes    []*gw.GatewayClass
	Gateways   []*gw.Gateway
	HTTPRoutes []*gw.HTTPRoute
	GRPCRoutes []*gw.GRPCRoute
	Grants     []*gw.ReferenceGrant

	Ingresses      []*networkingv1.Ingress
	IngressClasses []*networkingv1.IngressClass

	Namespace func(name string) *corev1.Namespace
	Service   func(namespace, name string) *corev1.Service
	Secret    func(namespace, name string) *corev1.Secret
	// Certificate reads the pair in a Secret of type kubernetes.io/tls.
	Certificate func(*corev1.Secret) (*tls.Certificate, error)

	Addresses []netip.Addr // of the nodes that the gateway runs on
}

// Settings is what of the gateway's own settings matters here.
type Settings struct {
	HTTPPort, HTTPSPort int // of Ingresses
}

// Result is what became of Objects.
type Result struct {
	Table        *route.Table
	Binds        []Bind
	Certificates []Certificate
	Status       Status
}

// A Bind is a port to listen on.
type Bind struct {
	Port int
	TLS  bool
}

// A Certificate is used on a port for the names under Hostname; without a Pair
// it is made when it is needed.
type Certificate struct {
	Port     int
	Hostname string
	Pair     *tls.Certificate
}

// Status is what the objects are to say of themselves.
type Status struct {
	Classes    map[string]gw.GatewayClassStatus
	Gateways   map[types.NamespacedName]gw.GatewayStatus
	HTTPRoutes map[types.NamespacedName]gw.RouteStatus
	GRPCRoutes map[types.NamespacedName]gw.RouteStatus
	Ingresses  map[types.NamespacedName]networkingv1.IngressLoadBalancerStatus
}

// translation is one run.
type translation struct {
	Objects
	set      *upstream.Set
	settings Settings

	gateways  map[types.NamespacedName]*gateway
	order     []*gateway // the older first
	grants    map[grantKey][]gw.ReferenceGrantTo
	listeners []*listener
	routes    map[*route.Route][]*gw.RouteParentStatus
	out       Result
}

// Translate makes a table whose backends are those of set.
func Translate(o Objects, settings Settings, set *upstream.Set) Result {
	t := &translation{Objects: o, set: set, settings: settings, gateways: map[types.NamespacedName]*gateway{}, routes: map[*route.Route][]*gw.RouteParentStatus{}}
	t.out.Status = Status{
		Classes: map[string]gw.GatewayClassStatus{}, Gateways: map[types.NamespacedName]gw.GatewayStatus{},
		HTTPRoutes: map[types.NamespacedName]gw.RouteStatus{}, GRPCRoutes: map[types.NamespacedName]gw.RouteStatus{},
		Ingresses: map[types.NamespacedName]networkingv1.IngressLoadBalancerStatus{},
	}
	t.indexGrants()
	t.takeGateways()
	for _, r := range o.HTTPRoutes {
		t.httpRoute(r)
	}
	for _, r := range o.GRPCRoutes {
		t.grpcRoute(r)
	}
	table := t.tableListeners()
	table = append(table, t.ingresses()...)
	var conflicts []route.Conflict
	t.out.Table, conflicts = route.Build(table)
	t.tellConflicts(conflicts)
	t.tellGateways()
	return t.out
}

// tableListeners are the listeners that serve, as the table wants them, and with
// them the ports and certificates.
func (t *translation) tableListeners() []route.Listener {
	var out []route.Listener
	bound := map[Bind]bool{}
	for _, l := range t.listeners {
		if !l.serves() {
			continue
		}
		out = append(out, route.Listener{Port: l.port, Hostname: l.hostname, Routes: l.routes})
		if b := (Bind{l.port, l.protocol == gw.HTTPSProtocolType}); !bound[b] {
			bound[b] = true
			t.out.Binds = append(t.out.Binds, b)
		}
		if l.protocol != gw.HTTPSProtocolType {
			continue
		}
		if len(l.pairs) == 0 {
			t.out.Certificates = append(t.out.Certificates, Certificate{Port: l.port, Hostname: l.hostname})
		}
		for _, pair := range l.pairs {
			t.out.Certificates = append(t.out.Certificates, Certificate{l.port, l.hostname, pair})
		}
	}
	return out
}
