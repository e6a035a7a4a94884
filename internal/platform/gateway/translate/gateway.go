package translate

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	api "github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// gateway is a Gateway that is ours.
type gateway struct {
	*gw.Gateway
	owner
	refused string // why it is not accepted; empty when it is
	reason  gw.GatewayConditionReason
	sets    int32 // ListenerSets that are attached

	own         *tls.Certificate // that backends are shown; nil is none
	ownResolved verdict
}

// owner is the object that listeners belong to: a Gateway, or a ListenerSet of
// one. Routes name it as their parent.
type owner struct {
	kind       string
	name       types.NamespacedName
	generation int64
	gateway    *gateway
	listeners  []*listener
}

func (o *owner) String() string { return o.kind + " " + o.name.String() }

// listener is one of a Gateway's listeners, and what becomes of it.
type listener struct {
	owner    *owner
	spec     *gw.Listener
	port     int
	hostname string
	protocol gw.ProtocolType
	kinds    []gw.RouteGroupKind
	pairs    []*tls.Certificate
	clients  *cert.ClientRule // what clients must have; nil is nothing
	selector labels.Selector  // of namespaces, where routes come from such
	routes   []*route.Route
	attached int32

	accepted, resolved, conflicted verdict
	partly                         bool // what could be resolved is enough
}

// verdict is a condition that is true unless a reason was found against it.
type verdict struct {
	reason  string // empty: nothing is wrong
	message string
}

func (v verdict) ok() bool { return v.reason == "" }

// serves tells whether requests are taken on the listener.
func (l *listener) serves() bool {
	return l.owner.gateway.refused == "" && l.accepted.ok() && l.conflicted.ok() && l.resolvedEnough()
}

// resolvedEnough tells whether what could be resolved is enough to serve: a
// listener with a kind of route that is not known serves the others.
func (l *listener) resolvedEnough() bool {
	return l.resolved.ok() || l.partly || l.resolved.reason == string(gw.ListenerReasonInvalidRouteKinds) && len(l.kinds) > 0
}

// takeGateways finds the Gateways that are ours, and reads their listeners.
func (t *translation) takeGateways() {
	classes := map[gw.ObjectName]bool{}
	for _, c := range t.Classes {
		if c.Spec.ControllerName != api.Controller {
			continue
		}
		classes[gw.ObjectName(c.Name)] = true
		t.out.Status.Classes[c.Name] = classStatus(c)
	}
	for _, g := range t.Gateways {
		if !classes[g.Spec.GatewayClassName] {
			continue
		}
		own := &gateway{Gateway: g}
		own.owner = owner{kind: "Gateway", name: types.NamespacedName{Namespace: g.Namespace, Name: g.Name}, generation: g.Generation, gateway: own}
		own.check(t)
		own.takeOwn(t)
		t.owners[parentKey{"Gateway", own.name}] = &own.owner
		t.order = append(t.order, own)
	}
	slices.SortFunc(t.order, func(a, b *gateway) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	sets := t.takeListenerSets()
	ports := map[place]*listener{} // who was the first on it
	for _, g := range t.order {
		for i := range g.Spec.Listeners {
			g.listeners = append(g.listeners, t.listener(&g.owner, &g.Spec.Listeners[i]))
		}
		clash(g.listeners)
		all := slices.Clone(g.listeners)
		for _, set := range sets[g] {
			all = set.take(t, all)
		}
		for _, l := range all {
			first, taken := ports[l.place()]
			switch {
			case !l.accepted.ok() || !l.conflicted.ok() || g.refused != "":
			case !taken:
				ports[l.place()] = l
			case layer(first.protocol) != layer(l.protocol):
				// All Gateways listen on the nodes' own addresses.
				l.accepted = verdict{string(gw.ListenerReasonPortUnavailable), fmt.Sprintf("port %d is used for %s by %s", l.port, first.protocol, first.owner)}
			}
		}
		t.listeners = append(t.listeners, all...)
	}
}

// place is what only one of several listeners that speak differently can have.
type place struct {
	port int
	udp  bool
}

func (l *listener) place() place { return place{l.port, l.protocol == gw.UDPProtocolType} }

// layer is what listeners of one port must have in common. HTTPS and TLS are told
// apart by the name that a client asks for.
func layer(p gw.ProtocolType) gw.ProtocolType {
	if p == gw.HTTPSProtocolType {
		return gw.TLSProtocolType
	}
	return p
}

// check refuses what this gateway cannot give a Gateway.
func (g *gateway) check(t *translation) {
	for _, a := range g.Spec.Addresses {
		if a.Type != nil && *a.Type != gw.IPAddressType {
			g.refused, g.reason = fmt.Sprintf("addresses of type %s are not supported", *a.Type), gw.GatewayReasonUnsupportedAddress
		}
	}
	if i := g.Spec.Infrastructure; i != nil && i.ParametersRef != nil {
		g.refused, g.reason = "parametersRef is not supported", gw.GatewayReasonInvalidParameters
	}
}

func (t *translation) listener(o *owner, spec *gw.Listener) *listener {
	l := &listener{owner: o, spec: spec, port: int(spec.Port), protocol: spec.Protocol}
	if spec.Hostname != nil {
		l.hostname = strings.ToLower(string(*spec.Hostname))
	}
	var supported []gw.RouteGroupKind
	switch spec.Protocol {
	case gw.HTTPProtocolType, gw.HTTPSProtocolType:
		supported = []gw.RouteGroupKind{kindOf("HTTPRoute"), kindOf("GRPCRoute")}
	case gw.TLSProtocolType:
		supported = []gw.RouteGroupKind{kindOf("TLSRoute")}
	case gw.TCPProtocolType:
		supported = []gw.RouteGroupKind{kindOf("TCPRoute")}
	case gw.UDPProtocolType:
		supported = []gw.RouteGroupKind{kindOf("UDPRoute")}
	default:
		l.accepted = verdict{string(gw.ListenerReasonUnsupportedProtocol), fmt.Sprintf("protocol %s is not supported", spec.Protocol)}
	}
	l.takeKinds(supported)
	if a := spec.AllowedRoutes; a != nil && a.Namespaces != nil && a.Namespaces.Selector != nil {
		s, err := metav1.LabelSelectorAsSelector(a.Namespaces.Selector)
		if err != nil {
			l.accepted = verdict{string(gw.ListenerReasonUnsupportedValue), "allowedRoutes.namespaces.selector: " + err.Error()}
		}
		l.selector = s
	}
	if layer(spec.Protocol) == gw.TLSProtocolType {
		t.takeCertificates(l)
	}
	if l.ends() {
		t.takeClients(l)
	}
	return l
}

func kindOf(kind string) gw.RouteGroupKind {
	group := gw.Group(gw.GroupName)
	return gw.RouteGroupKind{Group: &group, Kind: gw.Kind(kind)}
}

// takeKinds keeps the kinds of route that the listener allows and we know.
func (l *listener) takeKinds(supported []gw.RouteGroupKind) {
	l.kinds = supported
	if l.spec.AllowedRoutes == nil || len(l.spec.AllowedRoutes.Kinds) == 0 {
		return
	}
	l.kinds = []gw.RouteGroupKind{}
	for _, k := range l.spec.AllowedRoutes.Kinds {
		known := slices.ContainsFunc(supported, func(s gw.RouteGroupKind) bool {
			return s.Kind == k.Kind && (k.Group == nil || *k.Group == *s.Group)
		})
		if !known {
			l.resolved = verdict{string(gw.ListenerReasonInvalidRouteKinds), fmt.Sprintf("routes of kind %s cannot be attached to a listener of protocol %s", k.Kind, l.protocol)}
			continue
		}
		l.kinds = append(l.kinds, kindOf(string(k.Kind)))
	}
}

// passthrough tells whether TLS ends behind the gateway.
func (l *listener) passthrough() bool {
	return l.spec.TLS != nil && l.spec.TLS.Mode != nil && *l.spec.TLS.Mode == gw.TLSModePassthrough
}

// ends tells whether TLS ends at the listener.
func (l *listener) ends() bool {
	return layer(l.protocol) == gw.TLSProtocolType && !l.passthrough()
}

// takeCertificates reads the certificates of a listener that TLS ends at.
func (t *translation) takeCertificates(l *listener) {
	bad := func(reason gw.ListenerConditionReason, format string, args ...any) {
		l.resolved = verdict{string(reason), fmt.Sprintf(format, args...)}
	}
	conf := l.spec.TLS
	if conf == nil {
		bad(gw.ListenerReasonInvalidCertificateRef, "tls is not set")
		return
	}
	if l.passthrough() && l.protocol == gw.TLSProtocolType {
		return
	}
	if conf.Mode != nil && *conf.Mode != gw.TLSModeTerminate {
		l.accepted = verdict{string(gw.ListenerReasonUnsupportedValue), fmt.Sprintf("tls.mode %s needs protocol TLS", *conf.Mode)}
		return
	}
	if len(conf.CertificateRefs) == 0 && conf.Options[api.AutomaticCertificates] != "automatic" {
		bad(gw.ListenerReasonInvalidCertificateRef, "no certificate is named; the option %s: automatic makes them", api.AutomaticCertificates)
		return
	}
	for _, ref := range conf.CertificateRefs {
		pair, err := t.pair(l.owner, ref)
		if errors.Is(err, errNotGranted) {
			bad(gw.ListenerReasonRefNotPermitted, "%v", err)
			return
		}
		if err != nil {
			bad(gw.ListenerReasonInvalidCertificateRef, "%v", err)
			return
		}
		if pair.Leaf != nil && l.hostname != "" && !strings.HasPrefix(l.hostname, "*") {
			if err := pair.Leaf.VerifyHostname(l.hostname); err != nil {
				// It is served all the same: clients may know what they do.
				l.resolved.message = fmt.Sprintf("Secret %s: %v", ref.Name, err)
			}
		}
		l.pairs = append(l.pairs, pair)
	}
}

// clash finds the listeners of one Gateway that cannot be told apart.
func clash(ls []*listener) {
	for i, a := range ls {
		for _, b := range ls[i+1:] {
			if v := a.against(b); !v.ok() {
				a.conflicted, b.conflicted = v, v
			}
		}
	}
}

// against tells why two listeners cannot be told apart.
func (l *listener) against(other *listener) verdict {
	switch {
	case l.place() != other.place():
	case layer(l.protocol) != layer(other.protocol):
		return verdict{string(gw.ListenerReasonProtocolConflict), fmt.Sprintf("port %d has listeners of different protocols", l.port)}
	case l.hostname == other.hostname:
		return verdict{string(gw.ListenerReasonHostnameConflict), fmt.Sprintf("port %d has two listeners for host %q", l.port, l.hostname)}
	}
	return verdict{}
}

// allows tells whether a route of a kind and namespace may be attached.
func (t *translation) allows(l *listener, kind, namespace string) bool {
	if !slices.ContainsFunc(l.kinds, func(k gw.RouteGroupKind) bool { return string(k.Kind) == kind }) {
		return false
	}
	from := gw.NamespacesFromSame
	if a := l.spec.AllowedRoutes; a != nil && a.Namespaces != nil && a.Namespaces.From != nil {
		from = *a.Namespaces.From
	}
	switch from {
	case gw.NamespacesFromAll:
		return true
	case gw.NamespacesFromSame:
		return namespace == l.owner.name.Namespace
	case gw.NamespacesFromSelector:
		ns := t.Namespace(namespace)
		return ns != nil && l.selector != nil && l.selector.Matches(labels.Set(ns.Labels))
	}
	return false
}
