package stream

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// echo answers each datagram with its name before it.
func echo(t *testing.T, name string) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo([]byte(name+" "+string(buf[:n])), from)
		}
	}()
	return pc.LocalAddr().String()
}

func tell(conn net.Conn, what string) (string, error) {
	if _, err := conn.Write([]byte(what)); err != nil {
		return "", err
	}
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

func TestDatagramsGoToABackendAndAnswersComeBack(t *testing.T) {
	g, port := newGate(t, Config{}), freePort(t)
	a := g.to("a", 1, upstream.UDP, echo(t, "a"))
	listen := func(b ...route.Backend) {
		g.swap(Listener{Port: port, Protocol: UDP, Routes: []*route.Route{routeTo("r", nil, b...)}})
	}
	listen(a)
	client := func() net.Conn {
		conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	conn := client()
	for _, what := range []string{"hello", strings.Repeat("x", 20_000)} {
		if got, err := tell(conn, what); err != nil || got != "a "+what {
			t.Fatalf("answer of %d bytes, %v; want what was said, %d bytes", len(got), err, len(what)+2)
		}
	}
	if n := g.set.Service("shop/a").Stats.Snapshot(); n.InFlight != 1 || n.Requests != 1 || n.Failures != 0 {
		t.Errorf("counters = %+v; want one client that is answered", n)
	}
	// A client stays with its endpoint, and goes to another when that has left.
	b := g.to("b", 1, upstream.UDP, echo(t, "b"))
	listen(a, b)
	if got, err := tell(conn, "x"); err != nil || got != "a x" {
		t.Errorf("answer = %q, %v; want still a's", got, err)
	}
	a.Port.SetAddrs([]string{echo(t, "a2")}, nil)
	listen(a)
	if got, err := tell(conn, "x"); err != nil || got != "a2 x" {
		t.Errorf("answer = %q, %v; want the new endpoint's", got, err)
	}
	// What is sent while an App starts is not lost.
	sleeper := g.to("sleeper", 1, upstream.UDP)
	g.set.Service("shop/sleeper").SetApp("sleeper")
	listen(sleeper)
	addr := echo(t, "sleeper")
	go func() {
		<-g.woken
		sleeper.Port.SetAddrs([]string{addr}, nil)
	}()
	if got, err := tell(client(), "x"); err != nil || got != "sleeper x" {
		t.Errorf("answer = %q, %v; want that of the app that was started", got, err)
	}
}

func TestAnEndpointWhereNobodyListensIsPassedOver(t *testing.T) {
	g, port := newGate(t, Config{}), freePort(t)
	dead := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.swap(Listener{Port: port, Protocol: UDP, Routes: []*route.Route{routeTo("r", nil, g.to("a", 1, upstream.UDP, dead, echo(t, "a")))}})
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A datagram may get lost, so clients ask again.
	for i := 0; ; i++ {
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		buf := make([]byte, 100)
		n, err := conn.Read(buf)
		if err == nil && string(buf[:n]) == "a x" {
			break
		}
		if i == 30 {
			t.Fatalf("no answer: %v", err)
		}
	}
}

func TestThereIsAlwaysRoomForOneClientMore(t *testing.T) {
	g, port := newGate(t, Config{}), freePort(t)
	g.swap(Listener{Port: port, Protocol: UDP, Routes: []*route.Route{routeTo("r", nil, g.to("a", 1, upstream.UDP, echo(t, "a")))}})
	d := g.udp[port]
	d.mu.Lock()
	for i := range maxClients {
		from := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i))
		d.clients[from] = &client{from: from, cancel: func() {}}
	}
	d.mu.Unlock()
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := tell(conn, "x"); err != nil || got != "a x" {
		t.Errorf("answer = %q, %v; want a x", got, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.clients) != maxClients {
		t.Errorf("there are %d clients; want %d", len(d.clients), maxClients)
	}
}
