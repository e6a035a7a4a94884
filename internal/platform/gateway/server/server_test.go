package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	gwfake "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned/fake"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/watch"
)

// cloud is an API without a cluster, and a gateway that obeys it.
type cloud struct {
	t           *testing.T
	clients     watch.Clients
	http, https int
	admin       string
	woken       atomic.Int64
	onWake      func()
	stop        context.CancelFunc // tells the gateway to end
	end         func()             // ends it and waits
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs a gateway with a Gateway that has a plain and a TLS listener.
func start(t *testing.T, objects ...*gw.HTTPRoute) *cloud {
	t.Helper()
	return startWith(t, newCloud(t), gateway.Config{}, objects...)
}

// newCloud finds free ports.
func newCloud(t *testing.T) *cloud {
	return &cloud{t: t, http: freePort(t), https: freePort(t), admin: "127.0.0.1:" + strconv.Itoa(freePort(t))}
}

// startWith is start with settings of its own.
func startWith(t *testing.T, c *cloud, cfg gateway.Config, objects ...*gw.HTTPRoute) *cloud {
	t.Helper()
	c.clients = watch.Clients{Kube: fake.NewClientset(), Gateway: gwfake.NewSimpleClientset()}
	c.clients.Apps = func(context.Context, string, string, []byte) error {
		c.woken.Add(1)
		if c.onWake != nil {
			c.onWake()
		}
		return nil
	}
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	all := gw.NamespacesFromAll
	routes := &gw.AllowedRoutes{Namespaces: &gw.RouteNamespaces{From: &all}}
	must(c.clients.Kube.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node"},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.10"}}},
	}, metav1.CreateOptions{}))
	must(c.clients.Gateway.GatewayV1().GatewayClasses().Create(ctx, &gw.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: "sampan"}, Spec: gw.GatewayClassSpec{ControllerName: gateway.Controller},
	}, metav1.CreateOptions{}))
	must(c.clients.Gateway.GatewayV1().Gateways("sampan-system").Create(ctx, &gw.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: "sampan", Namespace: "sampan-system"},
		Spec: gw.GatewaySpec{GatewayClassName: "sampan", Listeners: []gw.Listener{
			{Name: "http", Port: gw.PortNumber(c.http), Protocol: gw.HTTPProtocolType, AllowedRoutes: routes},
			{Name: "https", Port: gw.PortNumber(c.https), Protocol: gw.HTTPSProtocolType, AllowedRoutes: routes, TLS: &gw.ListenerTLSConfig{
				Options: map[gw.AnnotationKey]gw.AnnotationValue{gateway.AutomaticCertificates: "automatic"},
			}},
		}},
	}, metav1.CreateOptions{}))
	for _, o := range objects {
		must(c.clients.Gateway.GatewayV1().HTTPRoutes(o.Namespace).Create(ctx, o, metav1.CreateOptions{}))
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg.HTTPPort, cfg.HTTPSPort, cfg.Admin, cfg.DataDir, cfg.Drain = c.http, c.https, c.admin, t.TempDir(), "2s"
	s := NewWith(cfg, c.clients, log)
	run, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- s.Run(run, func() { close(ready) }) }()
	// Caddy runs once in a process, so a test with two clouds ends the first.
	c.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(c.end)
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("Run = %v", err)
	case <-time.After(15 * time.Second):
		t.Fatal("the gateway is not ready after 15 s")
	}
	return c
}

// service makes a Service whose only endpoint is at addr, or that has none.
func (c *cloud) service(name, app, addr string) {
	c.t.Helper()
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: map[string]string{}},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
	if app != "" {
		svc.Labels["apps.sampan.dev/app"] = app
	}
	if _, err := c.clients.Kube.CoreV1().Services("shop").Create(context.Background(), svc, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	if addr != "" {
		c.endpoint(name, addr)
	}
}

func (c *cloud) endpoint(service, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		c.t.Error(err)
		return
	}
	n, _ := strconv.Atoi(port)
	name, number := "http", int32(n)
	_, err = c.clients.Kube.DiscoveryV1().EndpointSlices("shop").Create(context.Background(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: service + "-1", Namespace: "shop", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &number}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{host}}},
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Error(err)
	}
}

func httpRoute(name, host, service string) *gw.HTTPRoute {
	ns, port := gw.Namespace("sampan-system"), gw.PortNumber(80)
	return &gw.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Generation: 1},
		Spec: gw.HTTPRouteSpec{
			CommonRouteSpec: gw.CommonRouteSpec{ParentRefs: []gw.ParentReference{{Namespace: &ns, Name: "sampan"}}},
			Hostnames:       []gw.Hostname{gw.Hostname(host)},
			Rules: []gw.HTTPRouteRule{{BackendRefs: []gw.HTTPBackendRef{{BackendRef: gw.BackendRef{
				BackendObjectReference: gw.BackendObjectReference{Name: gw.ObjectName(service), Port: &port},
			}}}}},
		},
	}
}

// get asks the gateway until what it answers is accepted, since the API's
// watches take a moment.
func (c *cloud) get(host string, accept func(int, string) bool) (int, string) {
	c.t.Helper()
	var code int
	var body string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		req, _ := http.NewRequest("GET", fmt.Sprintf("http://127.0.0.1:%d/", c.http), nil)
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			c.t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if code, body = resp.StatusCode, string(b); accept(code, body) {
			return code, body
		}
	}
	c.t.Fatalf("GET %s = %d %q, not what is wanted after 5 s", host, code, body)
	return 0, ""
}

func backend(t *testing.T, answer string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func is(code int, body string) func(int, string) bool {
	return func(c int, b string) bool { return c == code && strings.Contains(b, body) }
}

func TestARouteIsServedFromTheMomentItIsMade(t *testing.T) {
	c := start(t)
	c.get("web.shop.test", is(404, "no route"))
	c.service("web", "", backend(t, "hello"))
	ctx := t.Context()
	if _, err := c.clients.Gateway.GatewayV1().HTTPRoutes("shop").Create(ctx, httpRoute("web", "web.shop.test", "web"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.get("web.shop.test", is(200, "hello"))

	if err := c.clients.Kube.DiscoveryV1().EndpointSlices("shop").Delete(ctx, "web-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.get("web.shop.test", is(503, "no endpoint is ready"))
	if err := c.clients.Kube.CoreV1().Services("shop").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.get("web.shop.test", is(500, "there is no Service shop/web"))
}

func TestTheConditionsOfARouteAreWritten(t *testing.T) {
	c := start(t, httpRoute("web", "web.shop.test", "web"))
	var got []metav1.Condition
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		r, err := c.clients.Gateway.GatewayV1().HTTPRoutes("shop").Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Status.Parents) == 1 {
			got = r.Status.Parents[0].Conditions
			break
		}
	}
	want := map[string]string{"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"}
	for _, g := range got {
		if g.Reason != want[g.Type] || g.LastTransitionTime.IsZero() || g.ObservedGeneration != 1 {
			t.Errorf("condition %s = %+v; want reason %s", g.Type, g, want[g.Type])
		}
		delete(want, g.Type)
	}
	if len(want) > 0 {
		t.Errorf("conditions = %+v; missing %v", got, want)
	}
}

func TestARequestIsHeldWhileItsAppStarts(t *testing.T) {
	c := start(t, httpRoute("web", "web.shop.test", "web"))
	addr := backend(t, "awake")
	c.onWake = func() {
		if c.woken.Load() == 1 {
			time.Sleep(100 * time.Millisecond)
			c.endpoint("web", addr)
		}
	}
	c.service("web", "web", "")
	c.get("web.shop.test", is(200, "awake"))
	if n := c.woken.Load(); n != 1 {
		t.Errorf("the App was woken %d times; want once", n)
	}
}

func TestTheCountersAreServed(t *testing.T) {
	c := start(t, httpRoute("web", "web.shop.test", "web"))
	c.service("web", "", backend(t, "hello"))
	c.get("web.shop.test", is(200, "hello"))
	// Requests that came before the endpoint was known are counted too.
	before := c.counters()
	c.get("web.shop.test", is(200, "hello"))
	after := c.counters()
	last := len(after.Latency.Counts) - 1
	if after.Requests-before.Requests != 1 || after.Failures != before.Failures || after.Latency.Counts[last]-before.Latency.Counts[last] != 1 {
		t.Errorf("counters went from %+v to %+v; want one request more of shop/web", before, after)
	}
	resp, err := http.Get("http://" + c.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if want := fmt.Sprintf(`sampan_gateway_requests_total{namespace="shop",service="web"} %d`, after.Requests); !strings.Contains(string(text), want) {
		t.Errorf("metrics = %s; want %s", text, want)
	}
}

// counters are those of shop/web.
func (c *cloud) counters() upstream.Snapshot {
	c.t.Helper()
	resp, err := http.Get("http://" + c.admin + "/v1/backends")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var got Counters
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		c.t.Fatal(err)
	}
	return got.Backends["shop/web"]
}

func TestTheOwnAuthorityVouchesForLocalNames(t *testing.T) {
	c := start(t, httpRoute("web", "web.shop.sampan.local", "web"))
	c.service("web", "", backend(t, "hello"))
	c.get("web.shop.sampan.local", is(200, "hello"))
	secret, err := c.clients.Kube.CoreV1().Secrets("sampan-system").Get(t.Context(), authoritySecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secret.Data[corev1.TLSCertKey])
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "web.shop.sampan.local"}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	req, _ := http.NewRequest("GET", fmt.Sprintf("https://127.0.0.1:%d/", c.https), nil)
	req.Host = "web.shop.sampan.local"
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	h3 := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "web.shop.sampan.local"}}
	defer h3.Close()
	resp3, err := h3.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp3.Body.Close()
	if resp3.StatusCode != 200 || resp3.ProtoMajor != 3 {
		t.Errorf("GET = %d %s; want 200 HTTP/3.0", resp3.StatusCode, resp3.Proto)
	}
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 || !strings.Contains(resp.Header.Get("Alt-Svc"), "h3") {
		t.Errorf("GET = %d %s, Alt-Svc %q; want 200 HTTP/2.0 that offers h3", resp.StatusCode, resp.Proto, resp.Header.Get("Alt-Svc"))
	}
}

func TestAGatewayThatEndsFailsNoRequest(t *testing.T) {
	c := start(t, httpRoute("web", "web.shop.test", "web"))
	began, finish := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-finish
		}
		fmt.Fprint(w, "hello")
	}))
	defer slow.Close()
	c.service("web", "", slow.Listener.Addr().String())
	c.get("web.shop.test", is(200, "hello"))
	ask := func(tr *http.Transport, path string) (*http.Response, error) {
		req, _ := http.NewRequest("GET", fmt.Sprintf("http://127.0.0.1:%d%s", c.http, path), nil)
		req.Host = "web.shop.test"
		resp, err := tr.RoundTrip(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return resp, err
	}
	kept, other := &http.Transport{}, &http.Transport{}
	defer kept.CloseIdleConnections()
	defer other.CloseIdleConnections()
	if _, err := ask(kept, "/"); err != nil {
		t.Fatal(err)
	}
	underWay := make(chan error, 1)
	go func() {
		resp, err := ask(other, "/slow")
		if err == nil && resp.StatusCode != 200 {
			err = fmt.Errorf("answered with %s", resp.Status)
		}
		underWay <- err
	}()
	<-began
	c.stop()
	time.Sleep(100 * time.Millisecond)
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.http)); err == nil {
		conn.Close()
		t.Error("a connection was accepted after the end began")
	}
	resp, err := ask(kept, "/")
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Errorf("a request on an old connection = %v, %v; want 200 that asks to connect anew", resp, err)
	}
	close(finish)
	if err := <-underWay; err != nil {
		t.Errorf("the request under way: %v", err)
	}
}
