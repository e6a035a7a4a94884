package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/testing"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	gwfake "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned/fake"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/watch"
)

// system is where the gateway's own objects are, and bench where routes are.
const system, space = "sampan-system", "bench"

// api is the cluster's API, as far as a gateway asks it.
type api struct {
	clients watch.Clients
	port    int
	written atomic.Int64 // when a status was written last, in Unix nanoseconds
}

// perStatus is how long writing one takes: a watch of the API in memory breaks
// when it is told of more than a hundred changes at once.
const perStatus = time.Millisecond

func newAPI(port int) *api {
	gateways := gwfake.NewSimpleClientset()
	a := &api{port: port, clients: watch.Clients{
		Kube: fake.NewClientset(), Gateway: gateways,
		Apps: func(context.Context, string, string, []byte) error { return nil },
	}}
	gateways.PrependReactor("update", "*", func(testing.Action) (bool, runtime.Object, error) {
		time.Sleep(perStatus)
		a.written.Store(time.Now().UnixNano())
		return false, nil, nil
	})
	return a
}

// settled tells whether all statuses have been written.
func (a *api) settled() bool {
	return time.Since(time.Unix(0, a.written.Load())) > time.Second
}

// fill makes a Gateway with one plain listener, a Service with one endpoint, and
// the routes to it.
func (a *api) fill(ctx context.Context, s settings) error {
	host, port, err := net.SplitHostPort(s.backend)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	all, name, number32 := gw.NamespacesFromAll, "http", int32(number)
	kube, gateways := a.clients.Kube, a.clients.Gateway.GatewayV1()
	_, e1 := gateways.GatewayClasses().Create(ctx, &gw.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: "sampan"}, Spec: gw.GatewayClassSpec{ControllerName: gateway.Controller},
	}, metav1.CreateOptions{})
	_, e2 := gateways.Gateways(system).Create(ctx, &gw.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: "sampan", Namespace: system},
		Spec: gw.GatewaySpec{GatewayClassName: "sampan", Listeners: []gw.Listener{{
			Name: "http", Port: gw.PortNumber(a.port), Protocol: gw.HTTPProtocolType,
			AllowedRoutes: &gw.AllowedRoutes{Namespaces: &gw.RouteNamespaces{From: &all}},
		}}},
	}, metav1.CreateOptions{})
	_, e3 := kube.CoreV1().Services(space).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: space},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: name, Port: 80}}},
	}, metav1.CreateOptions{})
	_, e4 := kube.DiscoveryV1().EndpointSlices(space).Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "web-1", Namespace: space, Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &number32}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{host}}},
	}, metav1.CreateOptions{})
	if err := errors.Join(e1, e2, e3, e4, a.route(ctx, "web")); err != nil {
		return err
	}
	for i := range s.routes - 1 {
		if err := a.route(ctx, fmt.Sprintf("other-%d", i+1)); err != nil {
			return err
		}
	}
	return nil
}

// route makes a route from NAME.bench.test to the Service.
func (a *api) route(ctx context.Context, name string) error {
	namespace, port := gw.Namespace(system), gw.PortNumber(80)
	_, err := a.clients.Gateway.GatewayV1().HTTPRoutes(space).Create(ctx, &gw.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: space, Generation: 1},
		Spec: gw.HTTPRouteSpec{
			CommonRouteSpec: gw.CommonRouteSpec{ParentRefs: []gw.ParentReference{{Namespace: &namespace, Name: "sampan"}}},
			Hostnames:       []gw.Hostname{gw.Hostname(name + ".bench.test")},
			Rules: []gw.HTTPRouteRule{{BackendRefs: []gw.HTTPBackendRef{{BackendRef: gw.BackendRef{
				BackendObjectReference: gw.BackendObjectReference{Name: "web", Port: &port},
			}}}}},
		},
	}, metav1.CreateOptions{})
	return err
}
