package translate

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
)

func TestACertificateForAnotherHostIsToldOnItsRoute(t *testing.T) {
	certPEM, keyPEM, err := cert.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, err := cert.OpenAuthority(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		certificate, listener, host string
		want                        string // of the message; empty for none
	}{
		"its host":              {"a.test", "", "a.test", ""},
		"another host":          {"a.test", "", "b.test", "valid for a.test, not b.test"},
		"a wildcard":            {"*.a.test", "*.a.test", "x.a.test", ""},
		"too deep for it":       {"*.a.test", "*.a.test", "x.y.a.test", "valid for *.a.test, not x.y.a.test"},
		"a route of a wildcard": {"*.a.test", "*.a.test", "*.a.test", ""},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := a.Leaf(tt.certificate, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			o := cluster(t)
			o.Secret = func(string, string) *corev1.Secret { return &corev1.Secret{Type: corev1.SecretTypeTLS} }
			o.Certificate = func(*corev1.Secret) (*tls.Certificate, error) { return pair, nil }
			g := object[gw.Gateway](t, `
metadata: {name: g, namespace: shop}
spec: {gatewayClassName: sampan, listeners: [{name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}]}`)
			if tt.listener != "" {
				h := gw.Hostname(tt.listener)
				g.Spec.Listeners[0].Hostname = &h
			}
			o.Gateways = append(o.Gateways, g)
			r := object[gw.HTTPRoute](t, "metadata: {name: web, namespace: shop}\nspec: {parentRefs: [{name: g}], rules: [{}]}")
			r.Spec.Hostnames = []gw.Hostname{gw.Hostname(tt.host)}
			o.HTTPRoutes = []*gw.HTTPRoute{r}
			s := Translate(o, Settings{80, 443}, set()).Status.HTTPRoutes[types.NamespacedName{Namespace: "shop", Name: "web"}]
			got := ""
			for _, c := range s.Parents[0].Conditions {
				if c.Type == ConditionCertificate {
					got = c.Message
				}
			}
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("the route says %q; want %q", got, tt.want)
			}
		})
	}
}
