package translate

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	gwalpha "sigs.k8s.io/gateway-api/apis/v1alpha2"
)

// streamCluster has a Gateway with listeners below HTTP, and a Service shop/dns
// with port 53 of UDP and of TCP.
func streamCluster(t *testing.T) Objects {
	o := cluster(t)
	o.Gateways = []*gw.Gateway{object[gw.Gateway](t, `
metadata: {name: sampan, namespace: shop}
spec:
  gatewayClassName: sampan
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: tcp, port: 53, protocol: TCP}
  - {name: udp, port: 53, protocol: UDP}
  - {name: tls, port: 443, protocol: TLS, hostname: "*.example.com", tls: {mode: Passthrough}}
  - {name: https, port: 443, protocol: HTTPS, tls: {options: {gateway.sampan.dev/certificates: automatic}}}
  - {name: quic, port: 8443, protocol: UDP}
  - {name: other, port: 8443, protocol: HTTPS, tls: {options: {gateway.sampan.dev/certificates: automatic}}}`)}
	service := o.Service
	dns := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "dns"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
		{Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP}, {Name: "tcp", Port: 53},
	}}}
	o.Service = func(ns, n string) *corev1.Service {
		if ns == "shop" && n == "dns" {
			return dns
		}
		return service(ns, n)
	}
	return o
}

func TestStreamRoutesAreToldWhatBecameOfThem(t *testing.T) {
	name := types.NamespacedName{Namespace: "shop", Name: "r"}
	meta := "metadata: {name: r, namespace: shop}\nspec: "
	tls := func(o *Objects, spec string) {
		o.TLSRoutes = []*gw.TLSRoute{object[gw.TLSRoute](t, meta+spec)}
	}
	tcp := func(o *Objects, spec string) {
		o.TCPRoutes = []*gwalpha.TCPRoute{object[gwalpha.TCPRoute](t, meta+spec)}
	}
	udp := func(o *Objects, spec string) {
		o.UDPRoutes = []*gwalpha.UDPRoute{object[gwalpha.UDPRoute](t, meta+spec)}
	}
	for name2, tt := range map[string]struct {
		put                func(*Objects, string)
		spec               string
		accepted, resolved string
	}{
		"TLS to a Service":               {tls, `{parentRefs: [{name: sampan}], hostnames: [a.example.com], rules: [{backendRefs: [{name: web, port: 80}]}]}`, "Accepted", "ResolvedRefs"},
		"TLS of another name":            {tls, `{parentRefs: [{name: sampan}], hostnames: [a.example.org], rules: [{backendRefs: [{name: web, port: 80}]}]}`, "NoMatchingListenerHostname", "ResolvedRefs"},
		"TLS to nothing":                 {tls, `{parentRefs: [{name: sampan}], hostnames: [a.example.com], rules: [{backendRefs: [{name: gone, port: 80}]}]}`, "Accepted", "BackendNotFound"},
		"TLS on a listener of HTTPS":     {tls, `{parentRefs: [{name: sampan, sectionName: https}], hostnames: [a.example.com], rules: [{backendRefs: [{name: web, port: 80}]}]}`, "NotAllowedByListeners", "ResolvedRefs"},
		"TCP to a Service":               {tcp, `{parentRefs: [{name: sampan}], rules: [{backendRefs: [{name: dns, port: 53}]}]}`, "Accepted", "ResolvedRefs"},
		"TCP with two rules":             {tcp, `{parentRefs: [{name: sampan}], rules: [{backendRefs: [{name: dns, port: 53}]}, {backendRefs: [{name: web, port: 80}]}]}`, "UnsupportedValue", "ResolvedRefs"},
		"UDP to a Service":               {udp, `{parentRefs: [{name: sampan, sectionName: udp}], rules: [{backendRefs: [{name: dns, port: 53}]}]}`, "Accepted", "ResolvedRefs"},
		"UDP to a port of TCP":           {udp, `{parentRefs: [{name: sampan, sectionName: udp}], rules: [{backendRefs: [{name: web, port: 80}]}]}`, "Accepted", "BackendNotFound"},
		"UDP to another namespace":       {udp, `{parentRefs: [{name: sampan, sectionName: udp}], rules: [{backendRefs: [{name: web, namespace: other, port: 80}]}]}`, "Accepted", "RefNotPermitted"},
		"UDP on a listener that is gone": {udp, `{parentRefs: [{name: sampan, sectionName: gone}], rules: [{backendRefs: [{name: dns, port: 53}]}]}`, "NoMatchingParent", "ResolvedRefs"},
	} {
		t.Run(name2, func(t *testing.T) {
			o := streamCluster(t)
			tt.put(&o, tt.spec)
			s := Translate(o, Settings{80, 443}, set()).Status
			got := map[string]string{}
			for _, of := range []map[types.NamespacedName]gw.RouteStatus{s.TLSRoutes, s.TCPRoutes, s.UDPRoutes} {
				if r, ok := of[name]; ok {
					got = said(r)
				}
			}
			if got["Accepted"] != tt.accepted || got["ResolvedRefs"] != tt.resolved {
				t.Errorf("conditions = %v; want Accepted by %s, ResolvedRefs by %s", got, tt.accepted, tt.resolved)
			}
		})
	}
}

func TestListenersBelowHTTPShareAPortWhereTheyCanBeToldApart(t *testing.T) {
	o := streamCluster(t)
	result := Translate(o, Settings{80, 443}, set())
	for _, l := range result.Status.Gateways[types.NamespacedName{Namespace: "shop", Name: "sampan"}].Listeners {
		for _, c := range l.Conditions {
			if want := metav1.ConditionStatus(metav1.ConditionTrue); c.Type == "Programmed" && c.Status != want {
				t.Errorf("listener %s: %s is %s by %s (%s); want %s", l.Name, c.Type, c.Status, c.Reason, c.Message, want)
			}
		}
	}
	want := map[Bind]bool{{Port: 80}: true, {Port: 443, TLS: true}: true, {Port: 8443, TLS: true, NoQUIC: true}: true}
	for _, b := range result.Binds {
		if !want[b] {
			t.Errorf("listens on %+v", b)
		}
		delete(want, b)
	}
	if len(want) > 0 {
		t.Errorf("does not listen on %v", want)
	}
}
