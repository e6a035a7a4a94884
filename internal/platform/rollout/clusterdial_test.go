package rollout

import (
	"context"
	"errors"
	"net"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestServicesAreReachedByTheNamesThatPodsCallThem(t *testing.T) {
	service := func(name, ip string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "monitoring", Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip}}
	}
	c := fake.NewClientBuilder().WithObjects(service("prometheus", "10.96.1.2"), service("peers", corev1.ClusterIPNone)).Build()
	for address, want := range map[string]string{
		"prometheus.monitoring:9090":                  "10.96.1.2:9090",
		"prometheus.monitoring.svc:9090":              "10.96.1.2:9090",
		"prometheus.monitoring.svc.cluster.local.:80": "10.96.1.2:80",
		"prometheus.monitoring.example.org:80":        "prometheus.monitoring.example.org:80",
		"peers.monitoring:80":                         "peers.monitoring:80",
		"example.org:443":                             "example.org:443",
		"prometheus:80":                               "prometheus:80",
		"192.0.2.1:80":                                "192.0.2.1:80",
		"[2001:db8::1]:80":                            "[2001:db8::1]:80",
	} {
		var got string
		d := clusterDialer{services: c, dial: func(_ context.Context, _, address string) (net.Conn, error) {
			got = address
			return nil, errors.New("not here")
		}}
		if _, err := d.DialContext(context.Background(), "tcp", address); err == nil || got != want {
			t.Errorf("DialContext(%s) goes to %q (%v), want %q", address, got, err, want)
		}
	}
}
