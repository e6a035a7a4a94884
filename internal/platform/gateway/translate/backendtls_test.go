package translate

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
)

// authorityMap is a ConfigMap with an authority's certificate.
func authorityMap(t *testing.T, namespace, name string) *corev1.ConfigMap {
	t.Helper()
	certPEM, _, err := cert.NewAuthority(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{"ca.crt": string(certPEM)}}
}

func TestABackendOfHTTPSIsCheckedAsItsPolicySays(t *testing.T) {
	ca := authorityMap(t, "shop", "ca")
	for name, tt := range map[string]struct {
		policies           []string // the older first
		annotation         bool
		port               int32
		serverName         string // that is asked for; empty when requests are refused
		missing            string // why they are
		accepted, resolved string // of the last policy
	}{
		"plain HTTP": {port: 80},
		"no policy":  {port: 443, missing: "no BackendTLSPolicy says how its certificate is checked"},
		"no policy, and that is wanted": {
			port: 443, annotation: true,
		},
		"a policy": {
			policies: []string{`targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: web.test, caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]}`},
			port:     443, serverName: "web.test", accepted: "Accepted", resolved: "ResolvedRefs",
		},
		"a policy makes HTTPS of a port": {
			policies: []string{`targetRefs: [{group: "", kind: Service, name: web, sectionName: http}], validation: {hostname: web.test, wellKnownCACertificates: System}`},
			port:     80, serverName: "web.test", accepted: "Accepted", resolved: "ResolvedRefs",
		},
		"a policy of another port": {
			policies: []string{`targetRefs: [{group: "", kind: Service, name: web, sectionName: https}], validation: {hostname: web.test, wellKnownCACertificates: System}`},
			port:     80,
		},
		"a port's policy is before the Service's": {
			policies: []string{
				`targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: all.test, wellKnownCACertificates: System}`,
				`targetRefs: [{group: "", kind: Service, name: web, sectionName: https}], validation: {hostname: port.test, wellKnownCACertificates: System}`,
			},
			port: 443, serverName: "port.test", accepted: "Accepted", resolved: "ResolvedRefs",
		},
		"an older policy": {
			policies: []string{
				`targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: old.test, wellKnownCACertificates: System}`,
				`targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: new.test, wellKnownCACertificates: System}`,
			},
			port: 443, serverName: "old.test", accepted: "Conflicted", resolved: "ResolvedRefs",
		},
		"no such ConfigMap": {
			policies: []string{`targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: web.test, caCertificateRefs: [{group: "", kind: ConfigMap, name: gone}]}`},
			port:     443, missing: "there is no ConfigMap shop/gone", accepted: "NoValidCACertificate", resolved: "InvalidCACertificateRef",
		},
		"one of two that cannot be read": {
			policies: []string{`targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: web.test, caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}, {group: "", kind: ConfigMap, name: empty}]}`},
			port:     443, missing: "has no certificate under the key ca.crt", accepted: "Accepted", resolved: "InvalidCACertificateRef",
		},
		"an authority that is no ConfigMap": {
			policies: []string{`targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: web.test, caCertificateRefs: [{group: "", kind: Secret, name: ca}]}`},
			port:     443, missing: "only ConfigMaps hold authorities", accepted: "NoValidCACertificate", resolved: "InvalidKind",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t)
			https := "https"
			web := o.Service("shop", "web")
			web.Spec.Ports = append(web.Spec.Ports, corev1.ServicePort{Name: "https", Port: 443, AppProtocol: &https})
			if tt.annotation {
				web.Annotations = map[string]string{annUnverified: "true"}
			}
			o.ConfigMap = func(ns, n string) *corev1.ConfigMap {
				switch ns + "/" + n {
				case "shop/ca":
					return ca
				case "shop/empty":
					return &corev1.ConfigMap{}
				}
				return nil
			}
			var last types.NamespacedName
			for i, spec := range tt.policies {
				p := object[gw.BackendTLSPolicy](t, "metadata: {namespace: shop}\nspec: {"+spec+"}")
				p.Name, p.CreationTimestamp = string(rune('z'-i)), metav1.Unix(int64(1000+i), 0)
				last = types.NamespacedName{Namespace: "shop", Name: p.Name}
				o.Policies = append([]*gw.BackendTLSPolicy{p}, o.Policies...)
			}
			r := object[gw.HTTPRoute](t, "metadata: {name: web, namespace: shop}\nspec: {parentRefs: [{name: sampan, namespace: sampan-system}], rules: [{backendRefs: [{name: web}]}]}")
			r.Spec.Rules[0].BackendRefs[0].Port = &tt.port
			o.HTTPRoutes = []*gw.HTTPRoute{r}
			result := Translate(o, Settings{80, 443}, set())
			f, ok := result.Table.Lookup(80, httptest.NewRequest("GET", "http://web.test/", nil))
			if !ok {
				t.Fatal("there is no route")
			}
			b := f.Backends[0]
			switch {
			case tt.missing != "":
				if b.Port != nil || !strings.Contains(b.Missing, tt.missing) {
					t.Errorf("backend = %+v; want it refused since %s", b, tt.missing)
				}
			case b.Port == nil:
				t.Errorf("backend is refused: %s", b.Missing)
			case tt.serverName == "" && !tt.annotation:
				if b.Port.TLS != nil {
					t.Errorf("backend is checked as %+v; want plain HTTP", b.Port.TLS)
				}
			case b.Port.TLS == nil || b.Port.TLS.ServerName != tt.serverName || b.Port.TLS.Unverified != tt.annotation:
				t.Errorf("backend is checked as %+v; want %q, unverified %v", b.Port.TLS, tt.serverName, tt.annotation)
			}
			got := map[string]string{}
			for _, a := range result.Status.Policies[last].Ancestors {
				for _, c := range a.Conditions {
					got[c.Type] = c.Reason
				}
			}
			if got["Accepted"] != tt.accepted || got["ResolvedRefs"] != tt.resolved {
				t.Errorf("the policy says %v; want Accepted by %s, ResolvedRefs by %s", got, tt.accepted, tt.resolved)
			}
		})
	}
}
