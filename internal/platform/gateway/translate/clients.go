package translate

import (
	"fmt"

	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// validation is what a Gateway asks of the clients of a port.
func (g *gateway) validation(port int) *gw.FrontendTLSValidation {
	if g.Spec.TLS == nil || g.Spec.TLS.Frontend == nil {
		return nil
	}
	for _, p := range g.Spec.TLS.Frontend.PerPort {
		if int(p.Port) == port {
			return p.TLS.Validation
		}
	}
	return g.Spec.TLS.Frontend.Default.Validation
}

// takeClients reads which certificates clients of a listener must have. One that
// nobody could have a certificate for does not serve.
func (t *translation) takeClients(l *listener) {
	v := l.owner.gateway.validation(l.port)
	if v == nil {
		return
	}
	rule := &cert.ClientRule{Optional: v.Mode == gw.AllowInsecureFallback}
	bad := func(reason gw.ListenerConditionReason, format string, args ...any) {
		if l.resolved.ok() {
			l.resolved, l.partly = verdict{string(reason), fmt.Sprintf(format, args...)}, true
		}
	}
	for _, ref := range v.CACertificateRefs {
		namespace := l.owner.gateway.name.Namespace
		if ref.Namespace != nil {
			namespace = string(*ref.Namespace)
		}
		if !t.granted(gw.GroupName, "Gateway", l.owner.gateway.name.Namespace, string(ref.Group), string(ref.Kind), namespace, string(ref.Name)) {
			bad(gw.ListenerReasonRefNotPermitted, "no ReferenceGrant in %s allows %s %s", namespace, ref.Kind, ref.Name)
			continue
		}
		roots, err := t.authorities(namespace, string(ref.Group), string(ref.Kind), string(ref.Name))
		switch err {
		case nil:
			rule.Roots = append(rule.Roots, roots...)
		case errKind:
			bad(gw.ListenerReasonInvalidCACertificateKind, "%s %s: %v", ref.Kind, ref.Name, err)
		default:
			bad(gw.ListenerReasonInvalidCACertificateRef, "%v", err)
		}
	}
	if len(rule.Roots) == 0 && l.accepted.ok() {
		l.accepted = verdict{string(gw.ListenerReasonNoValidCACertificate), "there is no authority to check clients' certificates by: " + l.resolved.message}
	}
	l.clients = rule
}

// clientNames are the names of a listener, with what they ask of clients.
func (l *listener) clientNames() []cert.ClientName {
	var out []cert.ClientName
	for _, r := range l.routes {
		if len(r.Hosts) == 0 {
			out = append(out, cert.ClientName{Port: l.port, Listener: l.hostname, Host: l.hostname, Rule: l.clients})
		}
		for _, h := range r.Hosts {
			if name, ok := route.Intersect(l.hostname, h); ok {
				out = append(out, cert.ClientName{Port: l.port, Listener: l.hostname, Host: name, Rule: l.clients})
			}
		}
	}
	return out
}

// tellClients finds out for which names clients are asked. Most clouds ask for
// none, and then nothing is kept of thousands of names.
func (t *translation) tellClients(ingresses []route.Listener) {
	asks := false
	for _, l := range t.listeners {
		asks = asks || l.clients != nil && l.asks()
	}
	if !asks {
		t.out.Clients = &cert.Clients{}
		return
	}
	var names []cert.ClientName
	for _, l := range t.listeners {
		if l.asks() {
			names = append(names, l.clientNames()...)
		}
	}
	for _, in := range ingresses {
		for _, r := range in.Routes {
			for _, h := range r.Hosts {
				names = append(names, cert.ClientName{Port: in.Port, Listener: in.Hostname, Host: h})
			}
		}
	}
	t.out.Clients = cert.NewClients(names)
}

// asks tells whether a listener has a say in who may connect for its names. One
// that does not serve, since there is no authority to check its clients by, lets
// nobody: another listener's certificate is not to be shown for its names.
func (l *listener) asks() bool {
	return l.ends() && (l.serves() || l.accepted.reason == string(gw.ListenerReasonNoValidCACertificate))
}

// insecure tells whether a Gateway takes clients that could not prove who they
// are.
func (g *gateway) insecure() bool {
	for _, l := range g.listeners {
		if l.clients != nil && l.clients.Optional {
			return true
		}
	}
	return false
}
