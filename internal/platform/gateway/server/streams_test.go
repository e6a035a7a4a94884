package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
)

// listener adds one to the Gateway.
func (c *cloud) listener(l gw.Listener) {
	c.t.Helper()
	gateways := c.clients.Gateway.GatewayV1().Gateways("sampan-system")
	g, err := gateways.Get(c.t.Context(), "sampan", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	all := gw.NamespacesFromAll
	l.AllowedRoutes = &gw.AllowedRoutes{Namespaces: &gw.RouteNamespaces{From: &all}}
	g.Generation++
	g.Spec.Listeners = append(g.Spec.Listeners, l)
	if _, err := gateways.Update(c.t.Context(), g, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// eventually asks until there is no error, since the API's watches take a moment.
func eventually(t *testing.T, ask func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	t.Fatalf("not so after 5 s: %v", err)
}

func TestARouteOfTLSSharesThePortOfHTTPS(t *testing.T) {
	c := start(t, httpRoute("web", "web.shop.sampan.local", "web"))
	c.service("web", "", backend(t, "hello"))
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "passed through") }))
	defer secure.Close()
	c.service("secure", "", secure.Listener.Addr().String())
	mode := gw.TLSModePassthrough
	host, ns, port := gw.Hostname("secure.example.com"), gw.Namespace("sampan-system"), gw.PortNumber(80)
	ref := gw.BackendRef{BackendObjectReference: gw.BackendObjectReference{Name: "secure", Port: &port}}
	parents := gw.CommonRouteSpec{ParentRefs: []gw.ParentReference{{Namespace: &ns, Name: "sampan"}}}
	c.listener(gw.Listener{Name: "tls", Port: gw.PortNumber(c.https), Protocol: gw.TLSProtocolType, Hostname: &host, TLS: &gw.ListenerTLSConfig{Mode: &mode}})
	_, err := c.clients.Gateway.GatewayV1().TLSRoutes("shop").Create(t.Context(), &gw.TLSRoute{
		ObjectMeta: metav1.ObjectMeta{Name: "secure", Namespace: "shop"},
		Spec:       gw.TLSRouteSpec{CommonRouteSpec: parents, Hostnames: []gw.Hostname{host}, Rules: []gw.TLSRouteRule{{BackendRefs: []gw.BackendRef{ref}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name, want string) error {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: name}}
		defer tr.CloseIdleConnections()
		req, _ := http.NewRequest("GET", fmt.Sprintf("https://127.0.0.1:%d/", c.https), nil)
		req.Host = name
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); string(body) != want {
			return fmt.Errorf("%s answers %q; want %q", name, body, want)
		}
		return nil
	}
	eventually(t, func() error { return ask("secure.example.com", "passed through") })
	eventually(t, func() error { return ask("web.shop.sampan.local", "hello") })
}

func TestAPortThatIsTakenKeepsNoOtherClosed(t *testing.T) {
	c := start(t, httpRoute("web", "web.example.com", "web"))
	c.service("web", "", backend(t, "hello"))
	other, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	free := freePort(t)
	c.listener(gw.Listener{Name: "taken", Port: gw.PortNumber(other.Addr().(*net.TCPAddr).Port), Protocol: gw.HTTPProtocolType})
	c.listener(gw.Listener{Name: "free", Port: gw.PortNumber(free), Protocol: gw.HTTPProtocolType})
	c.service("more", "", "") // what tells the gateway to look again
	eventually(t, func() error {
		req, _ := http.NewRequest("GET", fmt.Sprintf("http://127.0.0.1:%d/", free), nil)
		req.Host = "web.example.com"
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			return fmt.Errorf("answer = %s", resp.Status)
		}
		return nil
	})
}

func TestTLSOfAConnectionEndsAtTheGateway(t *testing.T) {
	c := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, "220 ready")
			conn.Close()
		}
	}()
	c.service("mail", "", l.Addr().String())
	listen, ns, port := freePort(t), gw.Namespace("sampan-system"), gw.PortNumber(80)
	c.listener(gw.Listener{Name: "smtps", Port: gw.PortNumber(listen), Protocol: gw.TLSProtocolType, TLS: &gw.ListenerTLSConfig{
		Options: map[gw.AnnotationKey]gw.AnnotationValue{gateway.AutomaticCertificates: "automatic"},
	}})
	_, err = c.clients.Gateway.GatewayV1().TLSRoutes("shop").Create(t.Context(), &gw.TLSRoute{
		ObjectMeta: metav1.ObjectMeta{Name: "mail", Namespace: "shop"},
		Spec: gw.TLSRouteSpec{
			CommonRouteSpec: gw.CommonRouteSpec{ParentRefs: []gw.ParentReference{{Namespace: &ns, Name: "sampan"}}}, Hostnames: []gw.Hostname{"mail.sampan.local"},
			Rules: []gw.TLSRouteRule{{BackendRefs: []gw.BackendRef{{BackendObjectReference: gw.BackendObjectReference{Name: "mail", Port: &port}}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		secret, err := c.clients.Kube.CoreV1().Secrets("sampan-system").Get(t.Context(), authoritySecret, metav1.GetOptions{})
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(secret.Data[corev1.TLSCertKey])
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", listen), &tls.Config{RootCAs: roots, ServerName: "mail.sampan.local", NextProtos: []string{"smtp"}})
		if err != nil {
			return err
		}
		defer conn.Close()
		if got, err := io.ReadAll(conn); string(got) != "220 ready\n" {
			return fmt.Errorf("answer = %q, %v; want 220 ready", got, err)
		}
		return nil
	})
}
