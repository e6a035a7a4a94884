package stream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/route"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// gate is a Server with its Services.
type gate struct {
	*Server
	t     *testing.T
	set   *upstream.Set
	woken chan string
}

func (g *gate) Wake(namespace, app string) {
	select {
	case g.woken <- namespace + "/" + app:
	default:
	}
}

func newGate(t *testing.T, cfg Config) *gate {
	t.Helper()
	g := &gate{t: t, woken: make(chan string, 1)}
	g.set = upstream.NewSet(func(upstream.Protocol, *upstream.TLS) upstream.Transport { return idle{} })
	cfg.Host = "127.0.0.1"
	cfg.Hold = upstream.HoldConfig{Max: 10, Limit: 5 * time.Second, Again: time.Second}
	g.Server = New(cfg, g, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		g.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		g.Wait(ctx)
	})
	return g
}

type idle struct{ upstream.Transport }

func (idle) CloseIdleConnections() {}

// to is a backend with endpoints at addrs.
func (g *gate) to(name string, weight int, protocol upstream.Protocol, addrs ...string) route.Backend {
	port := g.set.Service("shop/"+name).Port(1, protocol)
	port.SetAddrs(addrs, nil)
	return route.Backend{Weight: weight, Port: port}
}

func routeTo(name string, hosts []string, backends ...route.Backend) *route.Route {
	return &route.Route{Name: name, Hosts: hosts, Rules: []*route.Rule{{Backends: backends}}}
}

// swap puts listeners in force.
func (g *gate) swap(listeners ...Listener) {
	g.t.Helper()
	table, _ := Build(listeners)
	closeOld, err := g.Swap(table)
	if err != nil {
		g.t.Fatal(err)
	}
	closeOld()
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

// parrot repeats what it hears, each line with its name before it. It serves
// each connection with serve when that is given.
func parrot(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go repeat(conn, name)
		}
	}()
	return l.Addr().String()
}

func repeat(conn net.Conn, name string) {
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		fmt.Fprintln(conn, name, lines.Text())
	}
	fmt.Fprintln(conn, name, "heard the end")
}

func dial(t *testing.T, port int) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	return conn.(*net.TCPConn)
}

// ask says a line and returns the answer.
func ask(conn net.Conn, line string) (string, error) {
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(answer), err
}

func TestAConnectionGoesToItsBackend(t *testing.T) {
	g, port := newGate(t, Config{}), freePort(t)
	g.swap(Listener{Port: port, Protocol: TCP, Routes: []*route.Route{routeTo("r", nil, g.to("a", 1, upstream.TCP, parrot(t, "a")))}})
	conn := dial(t, port)
	if got, err := ask(conn, "hello"); err != nil || got != "a hello" {
		t.Errorf("answer = %q, %v; want a hello", got, err)
	}
	if n := g.set.Service("shop/a").Stats.Snapshot(); n.InFlight != 1 || n.Requests != 1 || n.Failures != 0 {
		t.Errorf("counters = %+v; want one under way", n)
	}
	// A client that is done speaking still wants its answer.
	_ = conn.CloseWrite()
	rest, err := io.ReadAll(conn)
	if err != nil || string(rest) != "a heard the end\n" {
		t.Errorf("after the end of what is sent: %q, %v; want the answer to it", rest, err)
	}
}

func TestAConnectionOutlivesItsRoute(t *testing.T) {
	g, port := newGate(t, Config{}), freePort(t)
	a, b := g.to("a", 1, upstream.TCP, parrot(t, "a")), g.to("b", 1, upstream.TCP, parrot(t, "b"))
	listen := func(b route.Backend) Listener {
		return Listener{Port: port, Protocol: TCP, Routes: []*route.Route{routeTo("r", nil, b)}}
	}
	g.swap(listen(a))
	old := dial(t, port)
	for _, step := range []struct {
		name string
		do   func()
		next string // the answer to a new connection; empty for none
	}{
		{"to begin with", func() {}, "a x"},
		{"another backend", func() { g.swap(listen(b)) }, "b x"},
		{"no endpoint", func() { a.Port.SetAddrs(nil, nil) }, "b x"},
		{"no listener", func() { g.swap() }, ""},
	} {
		step.do()
		if got, err := ask(old, "x"); err != nil || got != "a x" {
			t.Errorf("%s: the old connection answers %q, %v; want a x", step.name, got, err)
		}
		if step.next == "" {
			if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: a new connection = %v; want it refused", step.name, err)
			}
			continue
		}
		if got, err := ask(dial(t, port), "x"); err != nil || got != step.next {
			t.Errorf("%s: a new connection answers %q, %v; want %s", step.name, got, err, step.next)
		}
	}
}

func TestConnectionsAreSharedOutByWeight(t *testing.T) {
	g, port := newGate(t, Config{}), freePort(t)
	g.swap(Listener{Port: port, Protocol: TCP, Routes: []*route.Route{routeTo("r", nil,
		g.to("a", 3, upstream.TCP, parrot(t, "a")), g.to("b", 1, upstream.TCP, parrot(t, "b")),
		g.to("never", 0, upstream.TCP, parrot(t, "never")), route.Backend{Weight: 1, Missing: "there is no Service shop/gone"})}})
	got := map[string]int{}
	for range 200 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		answer := ""
		if err == nil {
			answer, err = ask(conn, "x")
			conn.Close()
		}
		if err != nil {
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("refused with %v; want a reset", err)
			}
			answer = "refused"
		}
		got[answer]++
	}
	if got["a x"] < 90 || got["a x"] > 150 || got["b x"] < 15 || got["refused"] < 15 || got["never x"] > 0 {
		t.Errorf("answers = %v; want about 120 of a, 40 of b, 40 refused", got)
	}
}

func TestAnEndpointThatDoesNotAnswerIsFollowedByAnother(t *testing.T) {
	g, port := newGate(t, Config{}), freePort(t)
	dead := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.swap(Listener{Port: port, Protocol: TCP, Routes: []*route.Route{routeTo("r", nil, g.to("a", 1, upstream.TCP, dead, parrot(t, "a")))}})
	for range 10 {
		if got, err := ask(dial(t, port), "x"); err != nil || got != "a x" {
			t.Fatalf("answer = %q, %v; want a x", got, err)
		}
	}
}

func TestAConnectionWaitsWhileItsAppStarts(t *testing.T) {
	g, port := newGate(t, Config{}), freePort(t)
	b := g.to("a", 1, upstream.TCP)
	g.set.Service("shop/a").SetApp("a")
	g.swap(Listener{Port: port, Protocol: TCP, Routes: []*route.Route{routeTo("r", nil, b)}})
	addr := parrot(t, "a")
	go func() {
		<-g.woken
		b.Port.SetAddrs([]string{addr}, nil)
	}()
	if got, err := ask(dial(t, port), "x"); err != nil || got != "a x" {
		t.Errorf("answer = %q, %v; want a x", got, err)
	}
}

func TestAnOlderRouteKeepsWhatTwoClaim(t *testing.T) {
	old, young := routeTo("old", []string{"a.test"}), routeTo("young", []string{"a.test", "b.test"})
	old.Created, young.Created = time.Unix(1, 0), time.Unix(2, 0)
	for name, p := range map[string]Protocol{"TCP": TCP, "UDP": UDP, "TLS": Passthrough} {
		table, conflicts := Build([]Listener{{Port: 1, Protocol: p, Routes: []*route.Route{young, old}}})
		if len(conflicts) != 1 || conflicts[0].Loser != young || conflicts[0].Winner != old {
			t.Errorf("%s: conflicts = %+v; want that young loses", name, conflicts)
		}
		if target, _ := table.byName(1, "b.test"); p == Passthrough && (target == nil || target.Route != young) {
			t.Errorf("%s: b.test is %+v; want young's", name, target)
		}
	}
}

func TestAProxyInFrontIsBelievedOnlyWhenItIsTrusted(t *testing.T) {
	for name, tt := range map[string]struct {
		trusted string
		want    string // what the backend hears first
	}{
		"a trusted one's header is taken off": {"127.0.0.0/8", "a x"},
		"a stranger's is data":                {"192.0.2.0/24", "a PROXY TCP4 198.51.100.7 127.0.0.1 4000 80"},
	} {
		t.Run(name, func(t *testing.T) {
			g, port := newGate(t, Config{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix(tt.trusted)}}), freePort(t)
			g.swap(Listener{Port: port, Protocol: TCP, Routes: []*route.Route{routeTo("r", nil, g.to("a", 1, upstream.TCP, parrot(t, "a")))}})
			conn := dial(t, port)
			fmt.Fprint(conn, "PROXY TCP4 198.51.100.7 127.0.0.1 4000 80\r\n")
			if got, err := ask(conn, "x"); err != nil || got != tt.want {
				t.Errorf("answer = %q, %v; want %s", got, err, tt.want)
			}
			_ = conn.CloseWrite()
			if rest, _ := io.ReadAll(conn); !strings.HasSuffix(string(rest), "heard the end\n") {
				t.Errorf("after the end of what is sent: %q; want that the backend has heard it", rest)
			}
		})
	}
}

func TestTheEndWaitsForConnections(t *testing.T) {
	g, port := newGate(t, Config{}), freePort(t)
	g.swap(Listener{Port: port, Protocol: TCP, Routes: []*route.Route{routeTo("r", nil, g.to("a", 1, upstream.TCP, parrot(t, "a")))}})
	conn, stuck := dial(t, port), dial(t, port)
	for _, c := range []net.Conn{conn, stuck} {
		if _, err := ask(c, "x"); err != nil {
			t.Fatal(err)
		}
	}
	g.Close()
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		t.Error("a connection was accepted after the end began")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		g.Wait(ctx)
		over.Store(true)
		close(done)
	}()
	if got, err := ask(conn, "y"); err != nil || got != "a y" || over.Load() {
		t.Errorf("the connection under way = %q, %v; want an answer before the end", got, err)
	}
	conn.Close()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("Wait goes on after its time is over")
	}
	if _, err := stuck.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives the gateway")
	}
}
