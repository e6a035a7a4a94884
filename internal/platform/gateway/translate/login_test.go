package translate

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/oidc"
)

func TestALoginIsReadFromItsSecret(t *testing.T) {
	good := map[string]string{"issuer": "https://id.example.com", "client-id": "shop", "client-secret": "s3cret"}
	with := func(key, value string) map[string]string {
		out := map[string]string{}
		for k, v := range good {
			out[k] = v
		}
		out[key] = value
		return out
	}
	for name, tt := range map[string]struct {
		secret      map[string]string
		annotations map[string]string
		wrong       string // of the message; empty when it is good
	}{
		"all that is needed":              {good, map[string]string{annLogin: "login"}, ""},
		"all that there is":               {good, map[string]string{annLogin: "login", annEmails: "a@b.c, *@d.e", annGroups: "dev ops", annScopes: "email", annSession: "8h"}, ""},
		"no Secret":                       {good, map[string]string{annLogin: "gone"}, "there is no Secret shop/gone"},
		"no client secret":                {with("client-secret", ""), map[string]string{annLogin: "login"}, "has no key client-secret"},
		"an issuer that anybody could be": {with("issuer", "http://id.example.com"), map[string]string{annLogin: "login"}, "is not an https address"},
		"a list of nobody":                {good, map[string]string{annLogin: "login", annGroups: " , "}, "names nobody"},
		"an endless session":              {good, map[string]string{annLogin: "login", annSession: "9999h"}, "is not a duration"},
		"groups without a login":          {good, map[string]string{annGroups: "dev"}, "means nothing without"},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster(t)
			data := map[string][]byte{}
			for k, v := range tt.secret {
				data[k] = []byte(v)
			}
			o.Secret = func(ns, n string) *corev1.Secret {
				if ns == "shop" && n == "login" {
					return &corev1.Secret{Type: oidc.SecretType, Data: data}
				}
				return nil
			}
			r := object[gw.HTTPRoute](t, `
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: sampan, namespace: sampan-system}]
  hostnames: [web.test]
  rules: [{matches: [{path: {type: PathPrefix, value: /admin}}], backendRefs: [{name: web, port: 80}]}]`)
			r.Annotations = tt.annotations
			again := r.DeepCopy()
			again.Name, again.Spec.Rules[0].Matches[0].Path.Value = "more", ptr("/more")
			o.HTTPRoutes = []*gw.HTTPRoute{r, again}
			result := Translate(o, Settings{80, 443}, set())
			s := result.Status.HTTPRoutes[types.NamespacedName{Namespace: "shop", Name: "web"}].Parents[0].Conditions
			if tt.wrong != "" {
				if s[0].Reason != "UnsupportedValue" || !strings.Contains(s[0].Message, tt.wrong) || result.Table.Rules() != 0 {
					t.Errorf("the route says %s: %s; want it refused since %s", s[0].Reason, s[0].Message, tt.wrong)
				}
				return
			}
			for _, path := range []string{"/admin/x", oidc.CallbackPath, oidc.LogoutPath} {
				f, ok := result.Table.Lookup(80, httptest.NewRequest("GET", "http://web.test"+path, nil))
				if !ok || f.Policy == nil || f.Policy.Login == nil {
					t.Fatalf("%s asks for no login", path)
				}
				if l := f.Policy.Login; l.Issuer != good["issuer"] || l.ClientSecret != good["client-secret"] || !slices.Contains(l.Scopes, "openid") {
					t.Errorf("%s asks for %+v", path, l)
				}
			}
			if f, ok := result.Table.Lookup(80, httptest.NewRequest("GET", "http://web.test/", nil)); ok {
				t.Errorf("/ is served by %s", f.Route.Name)
			}
			// Two routes of one login do not stand in each other's way.
			for _, n := range []string{"web", "more"} {
				if got := said(result.Status.HTTPRoutes[types.NamespacedName{Namespace: "shop", Name: n}]); got[ConditionConflicted] != "" {
					t.Errorf("%s: %v; want no conflict", n, got)
				}
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestAnIngressWhoseLoginCannotBeReadIsClosed(t *testing.T) {
	o := cluster(t)
	o.Ingresses = []*networkingv1.Ingress{object[networkingv1.Ingress](t, `
metadata: {name: web, namespace: shop, annotations: {gateway.sampan.dev/oidc: gone}}
spec: {rules: [{host: web.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}`)}
	f, ok := Translate(o, Settings{80, 443}, set()).Table.Lookup(80, httptest.NewRequest("GET", "http://web.test/", nil))
	if !ok || f.Backends[0].Port != nil || !strings.Contains(f.Backends[0].Missing, "there is no Secret shop/gone") {
		t.Errorf("it is served by %+v; want it refused, and why", f.Rule)
	}
}
