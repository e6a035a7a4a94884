package translate

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// referrer is the kind and namespace of an object that refers to others.
type referrer struct{ kind, namespace string }

// backend finds the Service that a reference of a route for requests names.
func (t *translation) backend(from referrer, ref *gw.BackendRef, found *problems) route.Backend {
	return t.backendBy(from, ref, corev1.ProtocolTCP, protocolOf, found)
}

// backendBy finds the Service that a reference names, and how its port is spoken
// to. A reference to nothing stays among the backends and fails its share of
// requests, so that a mistake in a small share does not send its requests where
// nobody expects them.
func (t *translation) backendBy(from referrer, ref *gw.BackendRef, transport corev1.Protocol, speak func(*corev1.ServicePort) (upstream.Protocol, bool), found *problems) route.Backend {
	b := route.Backend{Weight: 1}
	if ref.Weight != nil {
		b.Weight = int(*ref.Weight)
	}
	missing := func(reason gw.RouteConditionReason, message string) route.Backend {
		b.Missing = message
		found.unresolvedRef(reason, "%s", message)
		return b
	}
	if ref.Group != nil && *ref.Group != "" || ref.Kind != nil && *ref.Kind != "Service" {
		kind := "Service"
		if ref.Kind != nil {
			kind = string(*ref.Kind)
		}
		return missing(gw.RouteReasonInvalidKind, "backends of kind "+kind+" are not supported")
	}
	namespace := from.namespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	name := namespace + "/" + string(ref.Name)
	if !t.granted(gw.GroupName, from.kind, from.namespace, "", "Service", namespace, string(ref.Name)) {
		return missing(gw.RouteReasonRefNotPermitted, "no ReferenceGrant in "+namespace+" allows Service "+string(ref.Name))
	}
	svc := t.Service(namespace, string(ref.Name))
	if svc == nil {
		return missing(gw.RouteReasonBackendNotFound, "there is no Service "+name)
	}
	if ref.Port == nil {
		return missing(gw.RouteReasonBackendNotFound, "the reference to Service "+name+" names no port")
	}
	port := servicePort(svc, transport, func(p *corev1.ServicePort) bool { return p.Port == *ref.Port })
	if port == nil {
		return missing(gw.RouteReasonBackendNotFound, "Service "+name+" has no "+portString(ref.Port)+" of "+string(transport))
	}
	protocol, ok := speak(port)
	if !ok {
		return missing(gw.RouteReasonUnsupportedProtocol, "Service "+name+": appProtocol "+*port.AppProtocol+" is not supported")
	}
	b.Port = t.set.Service(name).Port(int(port.Port), protocol)
	if protocol != upstream.TCP && protocol != upstream.UDP {
		b.Port, b.Missing = t.secure(svc, port, b.Port, found)
	}
	return b
}

func servicePort(svc *corev1.Service, transport corev1.Protocol, is func(*corev1.ServicePort) bool) *corev1.ServicePort {
	for i := range svc.Spec.Ports {
		if p := &svc.Spec.Ports[i]; cmp.Or(p.Protocol, corev1.ProtocolTCP) == transport && is(p) {
			return p
		}
	}
	return nil
}

// protocolOf is how a port is spoken to, by the names that Kubernetes and the
// Gateway API have agreed on.
func protocolOf(p *corev1.ServicePort) (upstream.Protocol, bool) {
	if p.AppProtocol == nil {
		return upstream.HTTP1, true
	}
	switch *p.AppProtocol {
	case "", "http", "HTTP", "kubernetes.io/ws", "ws":
		return upstream.HTTP1, true
	case "kubernetes.io/h2c", "h2c", "grpc", "kubernetes.io/grpc":
		return upstream.H2C, true
	case "https", "HTTPS", "kubernetes.io/wss", "wss":
		return upstream.HTTPS, true
	}
	return "", false
}
