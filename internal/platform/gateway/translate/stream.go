package translate

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/stream"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// streamRoutes puts TLSRoutes, TCPRoutes and UDPRoutes on their listeners.
func (t *translation) streamRoutes() {
	for _, r := range t.TLSRoutes {
		s := streamRoute{
			kind: "TLSRoute", meta: &r.ObjectMeta, spec: &r.Spec.CommonRouteSpec, status: &r.Status.RouteStatus,
			hosts: r.Spec.Hostnames, transport: corev1.ProtocolTCP, into: t.out.Status.TLSRoutes,
		}
		for _, rule := range r.Spec.Rules {
			s.rules = append(s.rules, rule.BackendRefs)
		}
		t.streamRoute(s)
	}
	for _, r := range t.TCPRoutes {
		s := streamRoute{
			kind: "TCPRoute", meta: &r.ObjectMeta, spec: &r.Spec.CommonRouteSpec, status: &r.Status.RouteStatus,
			transport: corev1.ProtocolTCP, into: t.out.Status.TCPRoutes,
		}
		for _, rule := range r.Spec.Rules {
			s.rules = append(s.rules, rule.BackendRefs)
		}
		t.streamRoute(s)
	}
	for _, r := range t.UDPRoutes {
		s := streamRoute{
			kind: "UDPRoute", meta: &r.ObjectMeta, spec: &r.Spec.CommonRouteSpec, status: &r.Status.RouteStatus,
			transport: corev1.ProtocolUDP, into: t.out.Status.UDPRoutes,
		}
		for _, rule := range r.Spec.Rules {
			s.rules = append(s.rules, rule.BackendRefs)
		}
		t.streamRoute(s)
	}
}

// streamRoute is what the three kinds have in common.
type streamRoute struct {
	kind      string
	meta      *metav1.ObjectMeta
	spec      *gw.CommonRouteSpec
	status    *gw.RouteStatus
	hosts     []gw.Hostname
	rules     [][]gw.BackendRef
	transport corev1.Protocol
	into      map[types.NamespacedName]gw.RouteStatus
}

func (t *translation) streamRoute(s streamRoute) {
	r := &route.Route{Name: s.kind + " " + s.meta.Namespace + "/" + s.meta.Name, Created: s.meta.CreationTimestamp.Time}
	for _, h := range s.hosts {
		r.Hosts = append(r.Hosts, strings.ToLower(string(h)))
	}
	var found problems
	speak := func(*corev1.ServicePort) (upstream.Protocol, bool) {
		if s.transport == corev1.ProtocolUDP {
			return upstream.UDP, true
		}
		return upstream.TCP, true
	}
	for _, refs := range s.rules {
		rule := &route.Rule{}
		for i := range refs {
			rule.Backends = append(rule.Backends, t.backendBy(referrer{s.kind, s.meta.Namespace}, &refs[i], s.transport, speak, &found))
		}
		r.Rules = append(r.Rules, rule)
	}
	if len(r.Rules) > 1 {
		// Nothing in a rule says which connections it is for.
		found.unsupported("a %s has one rule: the others could not be reached", s.kind)
	}
	parents := t.attach(s.kind, s.meta, s.spec, r, found)
	if parents != nil || judged(s.status.Parents) {
		s.into[types.NamespacedName{Namespace: s.meta.Namespace, Name: s.meta.Name}] = gw.RouteStatus{Parents: parents}
	}
}

// streams is what a listener is to those who carry what is not HTTP. HTTPS is
// among it, since it may share its port with TLS.
func (l *listener) streams() (stream.Protocol, bool) {
	switch l.protocol {
	case gw.TCPProtocolType:
		return stream.TCP, true
	case gw.UDPProtocolType:
		return stream.UDP, true
	case gw.HTTPSProtocolType:
		return stream.HTTPS, true
	case gw.TLSProtocolType:
		if l.passthrough() {
			return stream.Passthrough, true
		}
		return stream.Terminate, true
	}
	return 0, false
}

// leaveDatagrams leaves the datagrams of a port to its UDP listener: HTTPS does
// without HTTP/3 there.
func (t *translation) leaveDatagrams() {
	for i := range t.out.Binds {
		b := &t.out.Binds[i]
		for _, l := range t.listeners {
			if l.port == b.Port && l.protocol == gw.UDPProtocolType && l.serves() {
				b.NoQUIC = b.TLS
			}
		}
	}
}
