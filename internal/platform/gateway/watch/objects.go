package watch

import (
	"crypto/tls"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/tools/cache"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	gwalpha "sigs.k8s.io/gateway-api/apis/v1alpha2"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/translate"
)

// objects is what the listers hold now.
func (w *Watcher) objects() translate.Objects {
	core, api, alpha := w.kube.Core().V1(), w.gateways.Gateway().V1(), w.gateways.Gateway().V1alpha2()
	return translate.Objects{
		Classes:        list[gw.GatewayClass](api.GatewayClasses().Informer()),
		Gateways:       list[gw.Gateway](api.Gateways().Informer()),
		Sets:           list[gw.ListenerSet](api.ListenerSets().Informer()),
		HTTPRoutes:     list[gw.HTTPRoute](api.HTTPRoutes().Informer()),
		GRPCRoutes:     list[gw.GRPCRoute](api.GRPCRoutes().Informer()),
		TLSRoutes:      list[gw.TLSRoute](api.TLSRoutes().Informer()),
		TCPRoutes:      list[gwalpha.TCPRoute](alpha.TCPRoutes().Informer()),
		UDPRoutes:      list[gwalpha.UDPRoute](alpha.UDPRoutes().Informer()),
		Policies:       list[gw.BackendTLSPolicy](api.BackendTLSPolicies().Informer()),
		Grants:         list[gw.ReferenceGrant](api.ReferenceGrants().Informer()),
		Ingresses:      list[networkingv1.Ingress](w.kube.Networking().V1().Ingresses().Informer()),
		IngressClasses: list[networkingv1.IngressClass](w.kube.Networking().V1().IngressClasses().Informer()),
		Namespace: func(name string) *corev1.Namespace {
			return get[corev1.Namespace](core.Namespaces().Informer(), name)
		},
		Service: func(namespace, name string) *corev1.Service {
			return get[corev1.Service](core.Services().Informer(), namespace+"/"+name)
		},
		Secret: w.secret,
		ConfigMap: func(namespace, name string) *corev1.ConfigMap {
			return get[corev1.ConfigMap](w.configs.Core().V1().ConfigMaps().Informer(), namespace+"/"+name)
		},
		Certificate: w.certificate,
		Addresses:   w.addresses(),
	}
}

func list[T any](i cache.SharedIndexInformer) []*T {
	all := i.GetStore().List()
	out := make([]*T, 0, len(all))
	for _, o := range all {
		if v, ok := o.(*T); ok {
			out = append(out, v)
		}
	}
	return out
}

func get[T any](i cache.SharedIndexInformer, key string) *T {
	o, ok, err := i.GetStore().GetByKey(key)
	if !ok || err != nil {
		return nil
	}
	v, _ := o.(*T)
	return v
}

func (w *Watcher) secret(namespace, name string) *corev1.Secret {
	for _, s := range w.secrets {
		if v := get[corev1.Secret](s.Core().V1().Secrets().Informer(), namespace+"/"+name); v != nil {
			return v
		}
	}
	return nil
}

// onlyAuthorities leaves of a ConfigMap what BackendTLSPolicies and Gateways
// refer to. Most have nothing of it, and some are large.
func onlyAuthorities(c *corev1.ConfigMap) {
	ca, ok := c.Data["ca.crt"]
	c.Data, c.BinaryData, c.Annotations, c.Labels = nil, nil, nil, nil
	if ok {
		c.Data = map[string]string{"ca.crt": ca}
	}
}

// certificate reads a pair, once for each version of its Secret.
func (w *Watcher) certificate(s *corev1.Secret) (*tls.Certificate, error) {
	key := s.Namespace + "/" + s.Name
	w.pairsMu.Lock()
	defer w.pairsMu.Unlock()
	if p, ok := w.pairs[key]; ok && p.version == s.ResourceVersion {
		return p.cert, p.err
	}
	p := pair{version: s.ResourceVersion}
	c, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	p.cert, p.err = &c, err
	w.pairs[key] = p
	return p.cert, p.err
}

// addresses are those of the nodes.
func (w *Watcher) addresses() []netip.Addr {
	var out []netip.Addr
	for _, n := range list[corev1.Node](w.kube.Core().V1().Nodes().Informer()) {
		for _, a := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP {
				out = append(out, ip)
			}
		}
	}
	return out
}
