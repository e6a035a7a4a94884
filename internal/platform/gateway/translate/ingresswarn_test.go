package translate

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
)

func TestAnIngressIsWarnedOfItsCertificate(t *testing.T) {
	certPEM, keyPEM, err := cert.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, err := cert.OpenAuthority(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Leaf("a.test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		host            string
		missing         bool
		bad             error
		reason, message string
	}{
		"its host":       {host: "A.test"},
		"another host":   {host: "b.test", reason: reasonMismatch, message: "Secret shop/c: x509: certificate is valid for a.test, not b.test"},
		"no Secret":      {host: "a.test", missing: true, reason: reasonNoCertificate, message: "there is no Secret shop/c"},
		"no usable pair": {host: "a.test", bad: errors.New("not a pair"), reason: reasonNoCertificate, message: "Secret shop/c: not a pair"},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t)
			if !tt.missing {
				o.Secret = func(string, string) *corev1.Secret { return &corev1.Secret{} }
			}
			o.Certificate = func(*corev1.Secret) (*tls.Certificate, error) { return pair, tt.bad }
			in := object[networkingv1.Ingress](t, "metadata: {name: web, namespace: shop, uid: u}\nspec: {tls: [{secretName: c}]}")
			in.Spec.TLS[0].Hosts = []string{tt.host}
			o.Ingresses = append(o.Ingresses, in)
			got := Translate(o, Settings{80, 443}, set()).Status.Warnings
			if tt.reason == "" {
				if len(got) != 0 {
					t.Errorf("warned of %+v; want nothing", got)
				}
				return
			}
			if len(got) != 1 || got[0].Reason != tt.reason || !strings.HasPrefix(got[0].Message, tt.message) || got[0].UID != "u" || got[0].Ingress.Name != "web" {
				t.Errorf("warned of %+v; want %s: %s", got, tt.reason, tt.message)
			}
		})
	}
}
