package translate

import (
	"crypto/tls"
	"errors"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

func TestAGatewayProvesItselfToBackendsByItsCertificate(t *testing.T) {
	for name, tt := range map[string]struct {
		ref    string
		reason string
		shown  bool
	}{
		"a pair":              {`{name: own}`, "ResolvedRefs", true},
		"no Secret":           {`{name: gone}`, "InvalidClientCertificateRef", false},
		"what is no pair":     {`{name: broken}`, "InvalidClientCertificateRef", false},
		"another kind":        {`{kind: ConfigMap, name: own}`, "InvalidClientCertificateRef", false},
		"another namespace's": {`{name: own, namespace: other}`, "RefNotPermitted", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t)
			o.Gateways = append(o.Gateways, object[gw.Gateway](t, `
metadata: {name: g, namespace: shop}
spec: {gatewayClassName: sampan, tls: {backend: {clientCertificateRef: `+tt.ref+`}}, listeners: [{name: a, port: 81, protocol: HTTP}]}`))
			o.Secret = func(ns, n string) *corev1.Secret {
				if n == "gone" {
					return nil
				}
				return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: n}, Type: corev1.SecretTypeTLS}
			}
			o.Certificate = func(s *corev1.Secret) (*tls.Certificate, error) {
				if s.Name == "broken" {
					return nil, errors.New("not a pair")
				}
				return &tls.Certificate{}, nil
			}
			o.Policies = []*gw.BackendTLSPolicy{object[gw.BackendTLSPolicy](t, `
metadata: {name: p, namespace: shop}
spec: {targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: web.test, wellKnownCACertificates: System}}`)}
			o.HTTPRoutes = []*gw.HTTPRoute{object[gw.HTTPRoute](t, "metadata: {name: web, namespace: shop}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: web, port: 80}]}]}")}
			result := Translate(o, Settings{80, 443}, set())
			got := ""
			for _, c := range result.Status.Gateways[types.NamespacedName{Namespace: "shop", Name: "g"}].Conditions {
				if c.Type == string(gw.GatewayConditionResolvedRefs) {
					got = c.Reason
				}
			}
			f, ok := result.Table.Lookup(81, httptest.NewRequest("GET", "http://web.test/", nil))
			if !ok || got != tt.reason || (f.Backends[0].Port.TLS.Own != nil) != tt.shown {
				t.Errorf("the Gateway says %s, and shows a certificate: %v; want %s, %v", got, f.Backends[0].Port.TLS.Own != nil, tt.reason, tt.shown)
			}
		})
	}
}
