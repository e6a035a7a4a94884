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
	gwalpha "sigs.k8s.io/gateway-api/apis/v1alpha2"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/stream"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// Objects is what is in the cluster. The functions look up one by namespace and
// name, and return nil when there is none.
type Objects struct {
	Classes    []*gw.GatewayClass
	Gateways   []*gw.Gateway
	Sets       []*gw.ListenerSet
	HTTPRoutes []*gw.HTTPRoute
	GRPCRoutes []*gw.GRPCRoute
	TLSRoutes  []*gw.TLSRoute
	TCPRoutes  []*gwalpha.TCPRoute
	UDPRoutes  []*gwalpha.UDPRoute
	Policies   []*gw.BackendTLSPolicy
	Grants     []*gw.ReferenceGrant

	Ingresses      []*networkingv1.Ingress
	IngressClasses []*networkingv1.IngressClass

	Namespace func(name string) *corev1.Namespace
	Service   func(namespace, name string) *corev1.Service
	Secret    func(namespace, name string) *corev1.Secret
	ConfigMap func(namespace, name string) *corev1.ConfigMap // with its ca.crt alone
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
	Streams      *stream.Table
	Binds        []Bind
	Certificates []Certificate
	Names        []string // that certificates are to be got for before they are asked for
	Clients      *cert.Clients
	Status       Status
}

// A Bind is a port to listen on for requests.
type Bind struct {
	Port   int
	TLS    bool
	NoQUIC bool // the port's datagrams are somebody else's
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
	Sets       map[types.NamespacedName]gw.ListenerSetStatus
	HTTPRoutes map[types.NamespacedName]gw.RouteStatus
	GRPCRoutes map[types.NamespacedName]gw.RouteStatus
	TLSRoutes  map[types.NamespacedName]gw.RouteStatus
	TCPRoutes  map[types.NamespacedName]gw.RouteStatus
	UDPRoutes  map[types.NamespacedName]gw.RouteStatus
	Policies   map[types.NamespacedName]gw.PolicyStatus
	Ingresses  map[types.NamespacedName]networkingv1.IngressLoadBalancerStatus
	Warnings   []Warning
}

// A Warning is of an Ingress, which has no conditions to say it with.
type Warning struct {
	Ingress         types.NamespacedName
	UID             types.UID
	Reason, Message string
}

// translation is one run.
type translation struct {
	Objects
	set      *upstream.Set
	settings Settings

	owners map[parentKey]*owner
	order  []*gateway // the older first
	grants map[grantKey][]gw.ReferenceGrantTo
	sets   []*listenerSet

	policies    map[policyTarget][]*policy // the first of each counts
	allPolicies []*policy

	listeners []*listener
	routes    map[*route.Route][]*gw.RouteParentStatus
	out       Result
}

// Translate makes a table whose backends are those of set.
func Translate(o Objects, settings Settings, set *upstream.Set) Result {
	t := &translation{Objects: o, set: set, settings: settings, owners: map[parentKey]*owner{}, routes: map[*route.Route][]*gw.RouteParentStatus{}}
	t.out.Status = Status{
		Classes: map[string]gw.GatewayClassStatus{}, Gateways: map[types.NamespacedName]gw.GatewayStatus{}, Sets: map[types.NamespacedName]gw.ListenerSetStatus{},
		HTTPRoutes: map[types.NamespacedName]gw.RouteStatus{}, GRPCRoutes: map[types.NamespacedName]gw.RouteStatus{},
		Policies:  map[types.NamespacedName]gw.PolicyStatus{},
		TLSRoutes: map[types.NamespacedName]gw.RouteStatus{}, TCPRoutes: map[types.NamespacedName]gw.RouteStatus{}, UDPRoutes: map[types.NamespacedName]gw.RouteStatus{},
		Ingresses: map[types.NamespacedName]networkingv1.IngressLoadBalancerStatus{},
	}
	t.indexGrants()
	t.takePolicies()
	t.takeGateways()
	for _, r := range o.HTTPRoutes {
		t.httpRoute(r)
	}
	for _, r := range o.GRPCRoutes {
		t.grpcRoute(r)
	}
	t.streamRoutes()
	table, streams := t.tableListeners()
	ingresses := t.ingresses()
	table = append(table, ingresses...)
	if len(ingresses) > 0 {
		streams = append(streams, stream.Listener{Port: t.settings.HTTPSPort, Protocol: stream.HTTPS})
	}
	var conflicts, more []route.Conflict
	t.out.Table, conflicts = route.Build(table)
	t.out.Streams, more = stream.Build(streams)
	t.tellConflicts(append(conflicts, more...))
	t.tellMismatches()
	t.leaveDatagrams()
	t.tellClients(ingresses)
	t.tellNames(ingresses)
	t.tellPolicies()
	t.tellSets()
	t.tellGateways()
	return t.out
}

// tableListeners are the listeners that serve, as the tables want them, and with
// them the ports and certificates.
func (t *translation) tableListeners() (requests []route.Listener, streams []stream.Listener) {
	bound := map[Bind]bool{}
	for _, l := range t.listeners {
		if !l.serves() {
			continue
		}
		if p, ok := l.streams(); ok {
			streams = append(streams, stream.Listener{Port: l.port, Protocol: p, Hostname: l.hostname, Routes: l.routes})
		}
		secure := l.protocol == gw.HTTPSProtocolType
		if secure || l.protocol == gw.HTTPProtocolType {
			requests = append(requests, route.Listener{Port: l.port, Hostname: l.hostname, Routes: l.routes})
			if b := (Bind{Port: l.port, TLS: secure}); !bound[b] {
				bound[b] = true
				t.out.Binds = append(t.out.Binds, b)
			}
		}
		if !l.ends() {
			continue
		}
		if len(l.pairs) == 0 {
			t.out.Certificates = append(t.out.Certificates, Certificate{Port: l.port, Hostname: l.hostname})
		}
		for _, pair := range l.pairs {
			t.out.Certificates = append(t.out.Certificates, Certificate{l.port, l.hostname, pair})
		}
	}
	return requests, streams
}
