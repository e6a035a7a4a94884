package translate

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
)

// ingresses are the listeners that Ingresses want: plain HTTP for all of them,
// and HTTPS for all of them too, with their own certificates where they name
// some and made ones where not.
func (t *translation) ingresses() []route.Listener {
	var routes []*route.Route
	for _, in := range t.Ingresses {
		if !t.ours(in) {
			continue
		}
		r := t.ingress(in)
		routes = append(routes, r)
		var status networkingv1.IngressLoadBalancerStatus
		for _, a := range t.Addresses {
			status.Ingress = append(status.Ingress, networkingv1.IngressLoadBalancerIngress{IP: a.String()})
		}
		t.out.Status.Ingresses[types.NamespacedName{Namespace: in.Namespace, Name: in.Name}] = status
		t.ingressCertificates(in)
	}
	if len(routes) == 0 {
		return nil
	}
	for _, b := range []Bind{{Port: t.settings.HTTPPort}, {Port: t.settings.HTTPSPort, TLS: true}} {
		if !slices.Contains(t.out.Binds, b) {
			t.out.Binds = append(t.out.Binds, b)
		}
	}
	return []route.Listener{
		{Port: t.settings.HTTPPort, Routes: routes},
		{Port: t.settings.HTTPSPort, Routes: routes},
	}
}

// ours tells whether an Ingress is for this gateway: by its class, or by being
// without one where no class is the default or ours is.
func (t *translation) ours(in *networkingv1.Ingress) bool {
	name := in.Annotations["kubernetes.io/ingress.class"]
	if in.Spec.IngressClassName != nil {
		name = *in.Spec.IngressClassName
	}
	for _, c := range t.IngressClasses {
		isDefault := c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true"
		if c.Name == name || name == "" && isDefault {
			return c.Spec.Controller == api.IngressController
		}
	}
	return name == ""
}

func (t *translation) ingress(in *networkingv1.Ingress) *route.Route {
	r := &route.Route{Name: "Ingress " + in.Namespace + "/" + in.Name, Created: in.CreationTimestamp.Time, OneLabel: true}
	var found problems
	extras := t.annotations(in.Namespace, in.Annotations, &found)
	for _, spec := range in.Spec.Rules {
		if spec.HTTP == nil {
			continue
		}
		for _, p := range spec.HTTP.Paths {
			path, err := ingressPath(&p)
			if err != nil {
				continue // the API server has checked paths of the kinds it knows
			}
			rule := &route.Rule{
				Host: strings.ToLower(spec.Host), Matches: []route.Match{{Path: path}},
				Backends: []route.Backend{t.ingressBackend(in.Namespace, &p.Backend, &found)},
			}
			extras.apply(rule)
			r.Rules = append(r.Rules, rule)
		}
		r.Hosts = append(r.Hosts, strings.ToLower(spec.Host))
	}
	if d := in.Spec.DefaultBackend; d != nil {
		rule := &route.Rule{Matches: []route.Match{{}}, Backends: []route.Backend{t.ingressBackend(in.Namespace, d, &found)}}
		extras.apply(rule)
		r.Rules = append(r.Rules, rule)
		r.Hosts = append(r.Hosts, "")
	}
	// What is said of one host goes before what is said of all, and the default
	// comes last: it is for what nothing else was said of.
	slices.SortStableFunc(r.Rules, func(a, b *route.Rule) int { return cmp.Compare(empty(a.Host), empty(b.Host)) })
	slices.Sort(r.Hosts)
	r.Hosts = slices.Compact(r.Hosts)
	extras.loginPaths(r)
	if !found.invalid.ok() {
		// An Ingress has nowhere to say what is wrong but its answers.
		for _, rule := range r.Rules {
			rule.Backends = []route.Backend{{Weight: 1, Missing: found.invalid.message}}
		}
	}
	return r
}

func empty(s string) int {
	if s == "" {
		return 1
	}
	return 0
}

// ingressPath reads a path. ImplementationSpecific is an expression when it
// looks like one, and a prefix otherwise.
func ingressPath(p *networkingv1.HTTPIngressPath) (route.Path, error) {
	kind := route.Prefix
	switch {
	case p.PathType != nil && *p.PathType == networkingv1.PathTypeExact:
		kind = route.Exact
	case p.PathType != nil && *p.PathType == networkingv1.PathTypeImplementationSpecific && strings.ContainsAny(p.Path, "^$()[]*+?|"):
		kind = route.Regex
	}
	return route.NewPath(kind, cmp.Or(p.Path, "/"))
}

func (t *translation) ingressBackend(namespace string, b *networkingv1.IngressBackend, found *problems) route.Backend {
	out := route.Backend{Weight: 1}
	if b.Service == nil {
		out.Missing = "the backend is not a Service"
		return out
	}
	name := namespace + "/" + b.Service.Name
	svc := t.Service(namespace, b.Service.Name)
	if svc == nil {
		out.Missing = "there is no Service " + name
		return out
	}
	want := b.Service.Port
	port := servicePort(svc, corev1.ProtocolTCP, func(p *corev1.ServicePort) bool {
		return want.Name != "" && p.Name == want.Name || want.Name == "" && p.Port == want.Number
	})
	if port == nil {
		out.Missing = "Service " + name + " has no such port"
		return out
	}
	protocol, ok := protocolOf(port)
	if !ok {
		out.Missing = "Service " + name + ": appProtocol " + *port.AppProtocol + " is not supported"
		return out
	}
	out.Port, out.Missing = t.secure(svc, port, t.set.Service(name).Port(int(port.Port), protocol), found)
	return out
}

// ingressCertificates takes the certificates that an Ingress names. A Secret
// that is not there or not good leaves its hosts with a made certificate.
func (t *translation) ingressCertificates(in *networkingv1.Ingress) {
	for _, spec := range in.Spec.TLS {
		if spec.SecretName == "" {
			continue
		}
		name := in.Namespace + "/" + spec.SecretName
		secret := t.Secret(in.Namespace, spec.SecretName)
		if secret == nil {
			t.warn(in, reasonNoCertificate, fmt.Sprintf("there is no Secret %s of type %s", name, corev1.SecretTypeTLS))
			continue
		}
		pair, err := t.Certificate(secret)
		if err != nil {
			t.warn(in, reasonNoCertificate, fmt.Sprintf("Secret %s: %v", name, err))
			continue
		}
		hosts := spec.Hosts
		if len(hosts) == 0 && pair.Leaf != nil {
			hosts = pair.Leaf.DNSNames
		}
		for _, h := range hosts {
			if why := mismatch([]*tls.Certificate{pair}, strings.ToLower(h)); why != "" {
				t.warn(in, reasonMismatch, fmt.Sprintf("Secret %s: %s", name, why))
			}
			t.out.Certificates = append(t.out.Certificates, Certificate{t.settings.HTTPSPort, strings.ToLower(h), pair})
		}
	}
}

func (t *translation) warn(in *networkingv1.Ingress, reason, message string) {
	t.out.Status.Warnings = append(t.out.Status.Warnings, Warning{
		Ingress: types.NamespacedName{Namespace: in.Namespace, Name: in.Name}, UID: in.UID, Reason: reason, Message: message,
	})
}
