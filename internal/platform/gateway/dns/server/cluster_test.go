package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const slicesPath = "/apis/discovery.k8s.io/v1/endpointslices"

// news is what a watch sends.
type news struct {
	Type   string                    `json:"type"`
	Object discoveryv1.EndpointSlice `json:"object"`
}

// newCluster is as much of a Kubernetes API as DNS asks: lists, and watches, of
// which that of EndpointSlices sends what comes in changes and the others stay
// silent. It returns the path of its kubeconfig and what takes it away.
func newCluster(t *testing.T, objects map[string]any, changes <-chan news) (kubeconfig string, stop func()) {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		list, ok := objects[r.URL.Path]
		switch {
		case !ok:
			http.NotFound(w, r)
		case r.URL.Query().Get("sendInitialEvents") == "true":
			// An API server that cannot stream a list says so, and is asked for it.
			w.WriteHeader(http.StatusUnprocessableEntity)
			json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity})
		case r.URL.Query().Get("watch") != "":
			w.(http.Flusher).Flush()
			for r.URL.Path == slicesPath {
				select {
				case n := <-changes:
					json.NewEncoder(w).Encode(n)
					w.(http.Flusher).Flush()
				case <-r.Context().Done():
					return
				}
			}
			<-r.Context().Done()
		default:
			json.NewEncoder(w).Encode(list)
		}
	}))
	stop = func() {
		api.CloseClientConnections()
		api.Close()
	}
	t.Cleanup(stop)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"test",
		"clusters":[{"name":"test","cluster":{"server":%q}}],
		"contexts":[{"name":"test","context":{"cluster":"test"}}]}`, api.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig, stop
}

// sliceOf is an EndpointSlice of a service in shop, whose endpoints have host
// names of their own. A host that begins with ! is not ready.
func sliceOf(service, suffix string, family discoveryv1.AddressType, endpoints map[string]string) discoveryv1.EndpointSlice {
	name, number, protocol := "http", int32(80), corev1.ProtocolTCP
	s := discoveryv1.EndpointSlice{
		TypeMeta: metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{
			Name: service + "-" + suffix, Namespace: "shop", ResourceVersion: "2",
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: family,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &number, Protocol: &protocol}},
	}
	for host, addr := range endpoints {
		host, down := strings.CutPrefix(host, "!")
		ready := !down
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{addr}, Hostname: &host, Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready},
		})
	}
	return s
}

// shop is a cluster with Services of all kinds and their endpoints.
func shop() map[string]any {
	meta := metav1.ListMeta{ResourceVersion: "1"}
	port := corev1.ServicePort{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}
	service := func(name string, ips ...string) corev1.Service {
		return corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
			Spec:       corev1.ServiceSpec{ClusterIP: ips[0], ClusterIPs: ips, Ports: []corev1.ServicePort{port}},
		}
	}
	elsewhere := corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "elsewhere", Namespace: "shop"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "www.example.com"},
	}
	const v4, v6 = discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6
	return map[string]any{
		"/api/v1/namespaces": corev1.NamespaceList{TypeMeta: metav1.TypeMeta{Kind: "NamespaceList", APIVersion: "v1"}, ListMeta: meta,
			Items: []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}},
		"/api/v1/services": corev1.ServiceList{TypeMeta: metav1.TypeMeta{Kind: "ServiceList", APIVersion: "v1"}, ListMeta: meta,
			Items: []corev1.Service{
				service("web", "10.43.0.80"), service("both", "10.43.0.81", "fd00:43::81"), elsewhere,
				service("db", corev1.ClusterIPNone), service("mixed", corev1.ClusterIPNone), service("outside", corev1.ClusterIPNone),
			}},
		slicesPath: discoveryv1.EndpointSliceList{TypeMeta: metav1.TypeMeta{Kind: "EndpointSliceList", APIVersion: "discovery.k8s.io/v1"}, ListMeta: meta,
			Items: []discoveryv1.EndpointSlice{
				sliceOf("web", "1", v4, map[string]string{"web-0": "10.42.0.7"}),
				sliceOf("db", "1", v4, map[string]string{"db-0": "10.42.0.8", "!db-1": "10.42.0.9"}),
				sliceOf("mixed", "1", v4, map[string]string{"a": "10.42.0.10"}),
				sliceOf("mixed", "2", v6, map[string]string{"a": "fd00:42::10", "b": "fd00:42::11"}),
				// One EndpointSlice for each, as the catalog writes them.
				sliceOf("outside", "one", v4, map[string]string{"one": "192.0.2.7"}),
				sliceOf("outside", "two", v4, map[string]string{"two": "192.0.2.8"}),
			}},
	}
}
