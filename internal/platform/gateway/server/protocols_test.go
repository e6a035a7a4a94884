package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/quic-go/quic-go/http3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway"
)

// dial connects to one of the gateway's ports, and speaks TLS to that of HTTPS.
func (c *cloud) dial(secure bool, host string, first ...byte) (net.Conn, error) {
	port := c.http
	if secure {
		port = c.https
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	c.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(first); err != nil {
		return nil, err
	}
	if secure {
		return tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: host, NextProtos: []string{"http/1.1"}}), nil
	}
	return conn, nil
}

func TestProtocolsGoThroughTheWholeGateway(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") == "websocket":
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_ = rw.Flush()
			line, _ := rw.ReadString('\n')
			_, _ = rw.WriteString("heard " + line)
			_ = rw.Flush()
		case r.URL.Path == "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: one\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			fmt.Fprint(w, r.Header.Get("X-Forwarded-For"), " ", r.Header.Get("X-Real-Ip"), " ", r.Header.Get("X-Forwarded-Proto"))
		}
	}))
	t.Cleanup(app.Close) // after the connections
	c := start(t, httpRoute("web", "web.example.com", "web"))
	c.service("web", "", app.Listener.Addr().String())
	c.get("web.example.com", is(200, "127.0.0.1 127.0.0.1 http"))
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run("WebSocket, "+name, func(t *testing.T) {
			conn, err := c.dial(secure, "web.example.com")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: web.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 101 {
				t.Fatalf("answer = %v, %v; want 101", resp, err)
			}
			fmt.Fprintln(conn, "hello")
			if line, err := r.ReadString('\n'); err != nil || line != "heard hello\n" {
				t.Errorf("the app says %q, %v; want what it heard", line, err)
			}
		})
		t.Run("events, "+name, func(t *testing.T) {
			conn, err := c.dial(secure, "web.example.com")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(conn, "GET /events HTTP/1.1\r\nHost: web.example.com\r\nAccept: text/event-stream\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "data: one\n" {
				t.Errorf("the first event = %q, %v; want it before the answer ends", line, err)
			}
		})
	}
	t.Run("HTTP/3", func(t *testing.T) {
		h3 := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "web.example.com"}}
		defer h3.Close()
		req, _ := http.NewRequest("GET", fmt.Sprintf("https://127.0.0.1:%d/", c.https), nil)
		req.Host = "web.example.com"
		resp, err := h3.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.ProtoMajor != 3 || string(body) != "127.0.0.1 127.0.0.1 https" {
			t.Errorf("answer = %s %q; want that the app knows the client", resp.Proto, body)
		}
	})
}

func TestGRPCGoesThroughTheWholeGateway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(app, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- app.Serve(l) }()
	t.Cleanup(func() { app.Stop(); <-done })
	c := start(t)
	c.service("calls", "", l.Addr().String())
	ns, port := gw.Namespace("sampan-system"), gw.PortNumber(80)
	_, err = c.clients.Gateway.GatewayV1().GRPCRoutes("shop").Create(t.Context(), &gw.GRPCRoute{
		ObjectMeta: metav1.ObjectMeta{Name: "calls", Namespace: "shop"},
		Spec: gw.GRPCRouteSpec{
			CommonRouteSpec: gw.CommonRouteSpec{ParentRefs: []gw.ParentReference{{Namespace: &ns, Name: "sampan"}}}, Hostnames: []gw.Hostname{"calls.example.com"},
			Rules: []gw.GRPCRouteRule{{BackendRefs: []gw.GRPCBackendRef{{BackendRef: gw.BackendRef{BackendObjectReference: gw.BackendObjectReference{Name: "calls", Port: &port}}}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		port int
		with credentials.TransportCredentials
	}{
		"plain": {c.http, insecure.NewCredentials()},
		"TLS":   {c.https, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", tt.port), grpc.WithTransportCredentials(tt.with), grpc.WithAuthority("calls.example.com"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			eventually(t, func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
				return err
			})
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			watch, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := watch.Recv(); err != nil || got.Status != grpc_health_v1.HealthCheckResponse_SERVING {
				t.Errorf("the stream says %v, %v; want its first message before it ends", got, err)
			}
		})
	}
}

func TestABalancerInFrontIsBelievedOnlyWhenItIsTrusted(t *testing.T) {
	header := func(version byte) []byte {
		h := proxyproto.HeaderProxyFromAddrs(version,
			net.TCPAddrFromAddrPort(netip.MustParseAddrPort("198.51.100.7:4000")), net.TCPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.1:443")))
		text, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-For"), " ", r.Header.Get("X-Real-Ip"), " ", r.Header.Get("X-Forwarded-Proto"))
	}))
	t.Cleanup(app.Close)
	for networks, cases := range map[string]map[string]struct {
		header []byte
		want   string // how the app's answer begins; empty for none
	}{
		"127.0.0.0/8": {
			"version 1 of one that is trusted": {header(1), "198.51.100.7 198.51.100.7"},
			"version 2 of one that is trusted": {header(2), "198.51.100.7 198.51.100.7"},
			"nothing, of one that is trusted":  {nil, "127.0.0.1 127.0.0.1"},
		},
		"192.0.2.0/24": {
			"version 1 of a stranger": {header(1), ""},
			"version 2 of a stranger": {header(2), ""},
			"nothing, of a stranger":  {nil, "127.0.0.1 127.0.0.1"},
		},
	} {
		c := startWith(t, newCloud(t), gateway.Config{ProxyProtocol: []string{networks}}, httpRoute("web", "web.example.com", "web"))
		c.service("web", "", app.Listener.Addr().String())
		c.get("web.example.com", is(200, "127.0.0.1"))
		for name, tt := range cases {
			t.Run(name, func(t *testing.T) {
				for _, secure := range []bool{false, true} {
					conn, err := c.dial(secure, "web.example.com", tt.header...)
					if err != nil {
						t.Fatal(err)
					}
					fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n")
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					got := ""
					if err == nil && resp.StatusCode == 200 {
						body, _ := io.ReadAll(resp.Body)
						got = string(body)
					}
					if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
						t.Errorf("TLS %v: the app answers %q (%v); want %q", secure, got, err, tt.want)
					}
				}
			})
		}
		c.end()
	}
}
