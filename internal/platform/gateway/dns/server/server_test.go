package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/dns"
)

// freePort finds a port that is free for both UDP and TCP.
func freePort(t *testing.T) int {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		l.Close()
		if err == nil {
			u.Close()
			return port
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return 0
}

// serve runs a server of cfg on free ports and returns its address.
func serve(t *testing.T, cfg dns.Config) (addr string, settings dns.Config) {
	t.Helper()
	local := func() string { return fmt.Sprintf("127.0.0.1:%d", freePort(t)) }
	cfg.Domain, cfg.Port, cfg.Bind = "cluster.local", freePort(t), []string{"127.0.0.1"}
	cfg.Drain = "10ms"
	cfg.Health, cfg.Ready, cfg.Metrics = local(), local(), local()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- New(cfg, slog.New(slog.DiscardHandler)).Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("Run = %v", err)
	case <-time.After(15 * time.Second):
		t.Fatal("not ready after 15 seconds")
	}
	return fmt.Sprintf("127.0.0.1:%d", cfg.Port), cfg
}

// ask returns the answer's code and records without names and TTLs.
func ask(t *testing.T, network, server, name string, kind uint16) string {
	t.Helper()
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(name), kind)
	r, _, err := (&mdns.Client{Net: network, Timeout: 3 * time.Second}).Exchange(m, server)
	if err != nil {
		return err.Error()
	}
	answers := []string{mdns.RcodeToString[r.Rcode]}
	for _, rr := range r.Answer {
		answers = append(answers, strings.Join(strings.Fields(rr.String())[3:], " "))
	}
	slices.Sort(answers[1:])
	return strings.Join(answers, ", ")
}

// newUpstream is the node's resolver, which knows one name. It returns its
// address and what takes it away.
func newUpstream(t *testing.T) (addr string, stop func()) {
	t.Helper()
	addr = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	answer := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		if q.Question[0].Name == "www.example.com." && q.Question[0].Qtype == mdns.TypeA {
			rr, _ := mdns.NewRR("www.example.com. 1 IN A 198.51.100.7")
			m.Answer = append(m.Answer, rr)
		} else {
			m.Rcode = mdns.RcodeNameError
		}
		w.WriteMsg(m)
	})
	servers := []*mdns.Server{{PacketConn: conn, Handler: answer}, {Listener: listener, Handler: answer}}
	for _, s := range servers {
		go s.ActivateAndServe()
	}
	stop = func() {
		for _, s := range servers {
			s.Shutdown() // the second time it says that it is not running
		}
	}
	t.Cleanup(stop)
	return addr, stop
}

func TestAnswers(t *testing.T) {
	kubeconfig, stopAPI := newCluster(t, shop(), nil)
	upstream, stopUpstream := newUpstream(t)
	server, cfg := serve(t, dns.Config{Kubeconfig: kubeconfig, Upstreams: []string{upstream}})
	for name, tt := range map[string]struct {
		name string
		kind uint16
		want string
	}{
		"a service by its name":             {"web.shop.svc.cluster.local", mdns.TypeA, "NOERROR, A 10.43.0.80"},
		"a headless service by its pods":    {"db.shop.svc.cluster.local", mdns.TypeA, "NOERROR, A 10.42.0.8"},
		"a pod of a headless service":       {"db-0.db.shop.svc.cluster.local", mdns.TypeA, "NOERROR, A 10.42.0.8"},
		"a named port":                      {"_http._tcp.web.shop.svc.cluster.local", mdns.TypeSRV, "NOERROR, SRV 0 100 80 web.shop.svc.cluster.local."},
		"any port of a service":             {"web.shop.svc.cluster.local", mdns.TypeSRV, "NOERROR, SRV 0 100 80 web.shop.svc.cluster.local."},
		"a port that is not there":          {"_https._tcp.web.shop.svc.cluster.local", mdns.TypeSRV, "NXDOMAIN"},
		"the ports of a headless service":   {"_http._tcp.db.shop.svc.cluster.local", mdns.TypeSRV, "NOERROR, SRV 0 100 80 db-0.db.shop.svc.cluster.local."},
		"those of several instances":        {"_http._tcp.outside.shop.svc.cluster.local", mdns.TypeSRV, "NOERROR, SRV 0 50 80 one.outside.shop.svc.cluster.local., SRV 0 50 80 two.outside.shop.svc.cluster.local."},
		"several instances":                 {"outside.shop.svc.cluster.local", mdns.TypeA, "NOERROR, A 192.0.2.7, A 192.0.2.8"},
		"one of several instances":          {"two.outside.shop.svc.cluster.local", mdns.TypeA, "NOERROR, A 192.0.2.8"},
		"an instance that is not ready":     {"db-1.db.shop.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},
		"the IPv6 address of a service":     {"both.shop.svc.cluster.local", mdns.TypeAAAA, "NOERROR, AAAA fd00:43::81"},
		"its IPv4 address":                  {"both.shop.svc.cluster.local", mdns.TypeA, "NOERROR, A 10.43.0.81"},
		"IPv6 pods of a headless service":   {"mixed.shop.svc.cluster.local", mdns.TypeAAAA, "NOERROR, AAAA fd00:42::10, AAAA fd00:42::11"},
		"its IPv4 pods":                     {"mixed.shop.svc.cluster.local", mdns.TypeA, "NOERROR, A 10.42.0.10"},
		"a pod with both families":          {"a.mixed.shop.svc.cluster.local", mdns.TypeAAAA, "NOERROR, AAAA fd00:42::10"},
		"a pod with IPv6 alone, but a name": {"b.mixed.shop.svc.cluster.local", mdns.TypeA, "NOERROR"},
		"a name for somewhere else":         {"elsewhere.shop.svc.cluster.local", mdns.TypeA, "NOERROR, A 198.51.100.7, CNAME www.example.com."},
		"an instance's address back":        {"8.2.0.192.in-addr.arpa", mdns.TypePTR, "NOERROR, PTR two.outside.shop.svc.cluster.local."},
		"a pod's address back":              {"8.0.42.10.in-addr.arpa", mdns.TypePTR, "NOERROR, PTR db-0.db.shop.svc.cluster.local."},
		"a service's IPv6 address back":     {reverse("fd00:43::81"), mdns.TypePTR, "NOERROR, PTR both.shop.svc.cluster.local."},
		"a pod's IPv6 address back":         {reverse("fd00:42::11"), mdns.TypePTR, "NOERROR, PTR b.mixed.shop.svc.cluster.local."},
		"a service's address back":          {"80.0.43.10.in-addr.arpa", mdns.TypePTR, "NOERROR, PTR web.shop.svc.cluster.local."},
		"a pod by its address":              {"10-42-0-7.shop.pod.cluster.local", mdns.TypeA, "NOERROR, A 10.42.0.7"},
		"no service of that name":           {"none.shop.svc.cluster.local", mdns.TypeA, "NXDOMAIN"},
		"no IPv6 address, but the name":     {"web.shop.svc.cluster.local", mdns.TypeAAAA, "NOERROR"},
		"another name through the resolver": {"www.example.com", mdns.TypeA, "NOERROR, A 198.51.100.7"},
		"what the resolver does not know":   {"none.example.com", mdns.TypeA, "NXDOMAIN"},
		"an address that is no service's":   {"1.2.0.192.in-addr.arpa", mdns.TypePTR, "NXDOMAIN"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				if got := ask(t, network, server, tt.name, tt.kind); got != tt.want {
					t.Errorf("%s over %s = %s, want %s", tt.name, network, got, tt.want)
				}
			}
		})
	}
	for what, url := range map[string]string{"health": cfg.Health + "/health", "readiness": cfg.Ready + "/ready", "metrics": cfg.Metrics + "/metrics"} {
		r, err := http.Get("http://" + url)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		r.Body.Close()
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", what, r.Status)
		}
	}

	stopAPI()
	stopUpstream()
	time.Sleep(1500 * time.Millisecond) // the resolver's record is good for a second
	for name, want := range map[string]string{
		"web.shop.svc.cluster.local": "NOERROR, A 10.43.0.80",
		"www.example.com":            "NOERROR, A 198.51.100.7",
	} {
		if got := ask(t, "udp", server, name, mdns.TypeA); got != want {
			t.Errorf("%s, with API and resolver away = %s, want %s", name, got, want)
		}
	}
}

// reverse is the name that an address is asked for by.
func reverse(addr string) string {
	name, err := mdns.ReverseAddr(addr)
	if err != nil {
		panic(err)
	}
	return name
}

// TestNamesFollowEndpoints measures what the server itself takes: from the API's
// word to the answer.
func TestNamesFollowEndpoints(t *testing.T) {
	changes := make(chan news)
	kubeconfig, _ := newCluster(t, shop(), changes)
	upstream, _ := newUpstream(t)
	server, _ := serve(t, dns.Config{Kubeconfig: kubeconfig, Upstreams: []string{upstream}})
	version := 10
	tell := func(kind string, endpoints map[string]string) {
		t.Helper()
		s := sliceOf("outside", "three", discoveryv1.AddressTypeIPv4, endpoints)
		version++
		s.ResourceVersion = fmt.Sprint(version)
		select {
		case changes <- news{kind, s}:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody watches EndpointSlices")
		}
	}
	becomes := func(name string, kind uint16, want string) {
		t.Helper()
		began, got := time.Now(), ""
		for time.Since(began) < 5*time.Second {
			if got = ask(t, "udp", server, name, kind); got == want {
				if took := time.Since(began); took > time.Second {
					t.Errorf("%s became %s after %s, want 1s", name, want, took)
				}
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("%s = %s, want %s", name, got, want)
	}
	const name, all = "three.outside.shop.svc.cluster.local", "outside.shop.svc.cluster.local"
	for range 3 { // an answer that is not, kept, would show the second time
		tell("ADDED", map[string]string{"!three": "192.0.2.9"})
		becomes(name, mdns.TypeA, "NXDOMAIN")
		tell("MODIFIED", map[string]string{"three": "192.0.2.9"})
		becomes(name, mdns.TypeA, "NOERROR, A 192.0.2.9")
		becomes(all, mdns.TypeA, "NOERROR, A 192.0.2.7, A 192.0.2.8, A 192.0.2.9")
		becomes("9.2.0.192.in-addr.arpa", mdns.TypePTR, "NOERROR, PTR three.outside.shop.svc.cluster.local.")
		tell("MODIFIED", map[string]string{"!three": "192.0.2.9"})
		becomes(name, mdns.TypeA, "NXDOMAIN")
		becomes(all, mdns.TypeA, "NOERROR, A 192.0.2.7, A 192.0.2.8")
		tell("DELETED", map[string]string{"!three": "192.0.2.9"})
		becomes("9.2.0.192.in-addr.arpa", mdns.TypePTR, "NXDOMAIN")
	}
}

func TestStartingWithoutTheAPIIsNotReady(t *testing.T) {
	kubeconfig, stopAPI := newCluster(t, shop(), nil)
	stopAPI()
	server, cfg := serve(t, dns.Config{Kubeconfig: kubeconfig, ResolvConf: "/nonexistent"})
	if got := ask(t, "udp", server, "web.shop.svc.cluster.local", mdns.TypeA); got != "SERVFAIL" {
		t.Errorf("a name that cannot be known = %s, want SERVFAIL", got)
	}
	r, err := http.Get("http://" + cfg.Ready + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readiness = %s, want it refused", r.Status)
	}
}
