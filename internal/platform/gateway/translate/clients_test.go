package translate

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

func TestAListenerIsToldWhatBecameOfItsClientsAuthorities(t *testing.T) {
	ca := authorityMap(t, "shop", "ca")
	for name, tt := range map[string]struct {
		frontend           string
		accepted, resolved string
		serves             bool
		rule               bool // a.test asks for certificates
	}{
		"an authority":            {`{default: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]}}}`, "Accepted", "ResolvedRefs", true, true},
		"of another port":         {`{default: {}, perPort: [{port: 8443, tls: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]}}}]}`, "Accepted", "ResolvedRefs", true, false},
		"a port without, by name": {`{default: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: gone}]}}, perPort: [{port: 443, tls: {}}]}`, "Accepted", "ResolvedRefs", true, false},
		"nobody":                  {`{default: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: gone}]}}}`, "NoValidCACertificate", "InvalidCACertificateRef", false, true},
		"no ConfigMap":            {`{default: {validation: {caCertificateRefs: [{group: "", kind: Secret, name: ca}]}}}`, "NoValidCACertificate", "InvalidCACertificateKind", false, true},
		"another namespace's":     {`{default: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: ca, namespace: other}]}}}`, "NoValidCACertificate", "RefNotPermitted", false, true},
		"one of two":              {`{default: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: gone}, {group: "", kind: ConfigMap, name: ca}]}}}`, "Accepted", "InvalidCACertificateRef", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t)
			o.ConfigMap = func(ns, n string) *corev1.ConfigMap {
				if n == "ca" {
					return ca
				}
				return nil
			}
			o.Gateways = append(o.Gateways, object[gw.Gateway](t, `
metadata: {name: g, namespace: shop}
spec:
  gatewayClassName: sampan
  tls: {frontend: `+tt.frontend+`}
  listeners: [{name: a, port: 443, protocol: HTTPS, tls: {options: {gateway.sampan.dev/certificates: automatic}}}]`))
			o.HTTPRoutes = []*gw.HTTPRoute{object[gw.HTTPRoute](t, "metadata: {name: web, namespace: shop}\nspec: {hostnames: [a.test], parentRefs: [{name: g}], rules: [{}]}")}
			result := Translate(o, Settings{80, 443}, set())
			got := map[string]string{}
			for _, c := range result.Status.Gateways[types.NamespacedName{Namespace: "shop", Name: "g"}].Listeners[0].Conditions {
				got[c.Type] = c.Reason
			}
			if got["Accepted"] != tt.accepted || got["ResolvedRefs"] != tt.resolved || (got["Programmed"] == "Programmed") != tt.serves {
				t.Errorf("conditions = %v; want Accepted by %s, ResolvedRefs by %s, serving %v", got, tt.accepted, tt.resolved, tt.serves)
			}
			if rule := result.Clients.Find(443, "a.test"); (rule != nil) != tt.rule {
				t.Errorf("a.test asks for %+v; want anything: %v", rule, tt.rule)
			}
		})
	}
}
