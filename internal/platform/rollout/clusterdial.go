package rollout

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// clusterDialer reaches Services by the names that pods call them. The machine's
// own resolver does not know them, and what numbers are asked of (Prometheus, a
// queue) most often runs in the cluster.
type clusterDialer struct {
	services client.Reader
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// DialContext goes to the address of the Service that a name means, and where
// there is none wherever the machine says.
func (d clusterDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if name, ok := serviceName(host); ok {
		var s corev1.Service
		if d.services.Get(ctx, name, &s) == nil && net.ParseIP(s.Spec.ClusterIP) != nil {
			address = net.JoinHostPort(s.Spec.ClusterIP, port)
		}
	}
	return d.dial(ctx, network, address)
}

// asking is the client for URLs that apps name. Connections are kept from one question to the
// next.
func asking(services client.Reader) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = clusterDialer{services, t.DialContext}.DialContext
	return &http.Client{Timeout: 2 * time.Second, Transport: t}
}

// serviceName reads NAME.NAMESPACE and NAME.NAMESPACE.svc, with or without the
// cluster's domain.
func serviceName(host string) (types.NamespacedName, bool) {
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if net.ParseIP(host) != nil || len(labels) < 2 || len(labels) > 2 && labels[2] != "svc" {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: labels[1], Name: labels[0]}, true
}
