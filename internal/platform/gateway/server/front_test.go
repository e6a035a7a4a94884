package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// kept is a client's connection that is used again and again.
type kept struct {
	net.Conn
	in *bufio.Reader
}

func (c *cloud) connect(t *testing.T) *kept {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(c.http))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &kept{conn, bufio.NewReader(conn)}
}

// ask asks for a path of web.shop.test.
func (k *kept) ask(path string) (string, error) {
	_ = k.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(k, "GET %s HTTP/1.1\r\nHost: web.shop.test\r\n\r\n", path); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return strconv.Itoa(resp.StatusCode) + " " + string(body), err
}

// Caddy makes all listeners anew for a new port. Connections that are open know
// nothing of it, and those that are left to Caddy later reach the new one.
func TestANewPortBreaksNoConnection(t *testing.T) {
	c := start(t, httpRoute("web", "web.shop.test", "web"))
	c.service("web", "", backend(t, "hello"))
	c.get("web.shop.test", is(200, "hello"))
	plain, other := c.connect(t), c.connect(t)
	for _, k := range []*kept{plain, other} {
		if got, err := k.ask("/"); got != "200 hello" {
			t.Fatalf("before: %q, %v; want hello", got, err)
		}
	}
	gateways := c.clients.Gateway.GatewayV1().Gateways("sampan-system")
	g, err := gateways.Get(t.Context(), "sampan", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	second := *g.Spec.Listeners[0].DeepCopy()
	second.Name, second.Port = "second", gw.PortNumber(freePort(t))
	g.Spec.Listeners = append(g.Spec.Listeners, second)
	g.ResourceVersion = "2" // which the API in memory does not count
	if _, err := gateways.Update(t.Context(), g, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	listening := func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(int(second.Port)))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	for end := time.Now().Add(5 * time.Second); !listening(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the new port is not listened on after 5 s")
		}
	}
	// Caddy closes what is old after what is new has begun.
	time.Sleep(200 * time.Millisecond)
	for _, step := range []struct {
		what string
		conn *kept
		path string
	}{{"a plain request", plain, "/"}, {"one that is left to Caddy", other, "/%41"}, {"one after it", other, "/"}, {"a plain one again", plain, "/"}} {
		if got, err := step.conn.ask(step.path); got != "200 hello" {
			t.Errorf("%s on a connection of before: %q, %v; want hello", step.what, got, err)
		}
	}
}

// Clients that keep their connections, one request after the other without a
// pause, see no failure while routes are made, and none when the gateway ends:
// they are asked to come back before they are hung up on.
func TestNoRequestFailsWhileRoutesChangeOrTheGatewayEnds(t *testing.T) {
	c := start(t, httpRoute("web", "web.shop.test", "web"))
	c.service("web", "", backend(t, "hello"))
	c.get("web.shop.test", is(200, "hello"))
	var asked atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		path := "/"
		if i%2 == 1 {
			path = "/%41" // by Caddy
		}
		k := c.connect(t)
		all.Go(func() {
			for {
				_ = k.SetDeadline(time.Now().Add(10 * time.Second))
				fmt.Fprintf(k, "GET %s HTTP/1.1\r\nHost: web.shop.test\r\n\r\n", path)
				resp, err := http.ReadResponse(k.in, nil)
				if err != nil {
					t.Errorf("after %d requests: %v", asked.Load(), err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				if resp.StatusCode != 200 || string(body) != "hello" || err != nil {
					t.Errorf("answer = %d %q, %v; want hello", resp.StatusCode, body, err)
					return
				}
				asked.Add(1)
				if resp.Close {
					return
				}
			}
		})
	}
	for i := range 20 {
		name := "web" + strconv.Itoa(i)
		if _, err := c.clients.Gateway.GatewayV1().HTTPRoutes("shop").Create(t.Context(), httpRoute(name, name+".shop.test", "web"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.get(name+".shop.test", func(code int, body string) bool { return code == 200 && strings.Contains(body, "hello") })
	}
	c.stop()
	all.Wait()
	if n := asked.Load(); n < 100 {
		t.Errorf("%d requests were answered; want many", n)
	}
}
