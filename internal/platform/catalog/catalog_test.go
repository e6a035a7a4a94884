package catalog

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/sampan-cloud/sampan/api/catalog"
)

// slack is what a deadline may be missed by.
const slack = time.Second

func TestARegisteredProcessIsAnEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	code, body := w.call("PUT", api.InstancePath("shop", "db", "one"), `{"address":"192.0.2.7","port":5432,"tags":["main"],"meta":{"rack":"3"}}`)
	if code != http.StatusCreated {
		t.Fatalf("PUT = %d %s, want 201", code, body)
	}
	svc, s := w.service("db"), w.slice("db.one")
	if svc == nil || len(svc.Spec.Selector) > 0 || len(svc.Spec.Ports) != 1 || svc.Spec.Ports[0].Port != 5432 {
		t.Errorf("the Service = %+v, want one without selector, with port 5432", svc)
	}
	if s == nil || s.Labels[discoveryv1.LabelServiceName] != "db" || s.Labels[discoveryv1.LabelManagedBy] != "catalog.sampan.dev" ||
		s.AddressType != discoveryv1.AddressTypeIPv4 || s.Endpoints[0].Addresses[0] != "192.0.2.7" || *s.Ports[0].Port != 5432 ||
		!*s.Endpoints[0].Conditions.Ready || *s.Endpoints[0].Hostname != "one" || s.OwnerReferences[0].UID != svc.UID {
		t.Errorf("the EndpointSlice = %+v", s)
	}
	if code, body = w.call("PUT", api.InstancePath("shop", "db", "one"), `{"address":"192.0.2.8","port":5433}`); code != http.StatusOK {
		t.Errorf("PUT of other words = %d %s, want 200", code, body)
	}
	if s := w.slice("db.one"); s.Endpoints[0].Addresses[0] != "192.0.2.8" || w.service("db").Spec.Ports[0].Port != 5433 {
		t.Errorf("after other words: %+v, %+v", s, w.service("db").Spec.Ports)
	}
	w.within(slack, "listed", func() bool {
		_, body = w.call("GET", api.ServicePath("shop", ""), "")
		return strings.Contains(body, `"name":"db","address":"10.96.0.7","ports":[{"port":5433,"protocol":"TCP"}],"instances":[{"id":"one","address":"192.0.2.8"`)
	})
	if code, body = w.call("DELETE", api.InstancePath("shop", "db", "one"), ""); code != http.StatusNoContent {
		t.Errorf("DELETE = %d %s, want 204", code, body)
	}
	if w.slice("db.one") != nil || w.service("db") != nil {
		t.Errorf("after DELETE there are still %+v and %+v", w.slice("db.one"), w.service("db"))
	}
	if code, _ = w.call("DELETE", api.InstancePath("shop", "db", "one"), ""); code != http.StatusNotFound {
		t.Errorf("the second DELETE = %d, want 404", code)
	}
}

func TestHeartbeatsKeepAnInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("db", "one", `{"address":"192.0.2.7","port":5432,"ttl":"1s"}`)
	before := len(w.cluster.written())
	for end := time.Now().Add(1800 * time.Millisecond); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if code, body := w.call("PUT", api.HeartbeatPath("shop", "db", "one"), ""); code != http.StatusNoContent {
			t.Fatalf("heartbeat = %d %s", code, body)
		}
		if !w.ready("db.one") {
			t.Fatal("out in spite of heartbeats")
		}
	}
	if more := w.cluster.written()[before:]; len(more) > 0 {
		t.Errorf("heartbeats were written down: %q", more)
	}
	last := time.Now()
	w.within(time.Second+slack, "out after its last heartbeat", func() bool { return !w.ready("db.one") })
	if took := time.Since(last); took < 800*time.Millisecond {
		t.Errorf("out %s after its last heartbeat, of a TTL of 1s", took)
	}
	if s := w.state("db", "one"); s != api.Expired {
		t.Errorf("state = %s, want expired", s)
	}
	w.call("PUT", api.HeartbeatPath("shop", "db", "one"), `{}`)
	w.within(slack, "back by a heartbeat", func() bool { return w.ready("db.one") })
	w.call("PUT", api.HeartbeatPath("shop", "db", "one"), `{"paused":true,"message":"draining"}`)
	w.within(slack, "out by its own word", func() bool { return !w.ready("db.one") && w.state("db", "one") == api.Paused })
	if code, _ := w.call("PUT", api.HeartbeatPath("shop", "db", "two"), ""); code != http.StatusNotFound {
		t.Errorf("heartbeat of nobody = %d, want 404", code)
	}
}

func TestOneThatDoesNotComeBackIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("db", "one", `{"address":"192.0.2.7","port":5432,"ttl":"1s","removeAfter":"1s"}`)
	w.within(time.Second+slack, "out", func() bool { return !w.ready("db.one") })
	w.within(time.Second+slack, "forgotten", func() bool { return w.slice("db.one") == nil && w.service("db") == nil })
}

// A heartbeat at the very moment at which an instance is to be forgotten keeps it,
// and it is looked after as before.
func TestAHeartbeatComesBeforeForgetting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("db", "one", `{"address":"192.0.2.7","port":5432,"ttl":"1s"}`)
	e := w.store.entry(Ref{"shop", "db", "one"})
	if gone, err := w.store.forget(t.Context(), e); gone || err != nil || w.slice("db.one") == nil {
		t.Errorf("forget of one that lives = %v, %v; want it to stay", gone, err)
	}
	w.within(time.Second+slack, "out, so it is looked after", func() bool { return !w.ready("db.one") })
}

func TestChecks(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]string{
		"by HTTP": `{"http":"/health?deep=1","interval":"1s","timeout":"500ms"}`,
		"by TCP":  `{"tcp":true,"interval":"1s","timeout":"500ms"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var well atomic.Bool
			var asked atomic.Value
			well.Store(true)
			app := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				asked.Store(r.URL.String())
				if !well.Load() {
					rw.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
			app.Start()
			port := app.Listener.Addr().(*net.TCPAddr).Port
			// The instance's address is one that may be registered; the process is here.
			w.store.prober.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if host, _, _ := net.SplitHostPort(addr); host != "192.0.2.7" {
					return nil, fmt.Errorf("dialled %s", addr)
				}
				var d net.Dialer
				return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			}
			w.put("db", "one", fmt.Sprintf(`{"address":"192.0.2.7","port":%d,"check":%s}`, port, check))
			w.within(slack, "in by its first check", func() bool { return w.ready("db.one") })
			if p := asked.Load(); name == "by HTTP" && p != "/health?deep=1" {
				t.Errorf("asked for %v", p)
			}
			if name == "by HTTP" {
				well.Store(false)
				w.within(time.Second+slack, "out when it answers 503", func() bool { return !w.ready("db.one") })
				_, body := w.call("GET", api.InstancePath("shop", "db", "one"), "")
				if !strings.Contains(body, "/health?deep=1: 503 Service Unavailable") {
					t.Errorf("the reason is not told: %s", body)
				}
				well.Store(true)
				w.within(time.Second+slack, "back when it answers 200", func() bool { return w.ready("db.one") })
			}
			app.Close()
			w.within(time.Second+slack, "out when it stops", func() bool { return !w.ready("db.one") && w.state("db", "one") == api.Failing })
			time.Sleep(1200 * time.Millisecond)
			if w.slice("db.one") == nil {
				t.Error("forgotten, though it has only a check and may come back")
			}
		})
	}
}

func TestARestartLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("db", "static", `{"address":"192.0.2.7","port":5432}`)
	w.put("db", "beating", `{"address":"192.0.2.8","port":5432,"ttl":"1s"}`)
	w.put("db", "dead", `{"address":"192.0.2.9","port":5432,"ttl":"1s"}`)
	for end := time.Now().Add(1200 * time.Millisecond); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		w.call("PUT", api.HeartbeatPath("shop", "db", "beating"), "")
	}
	w.within(slack, "one has expired", func() bool { return !w.ready("db.dead") })
	w.restart()
	// Longer than its TTL: its process could not reach us while we were away.
	time.Sleep(1500 * time.Millisecond)
	for id, want := range map[string]api.State{"static": api.Ready, "beating": api.Ready, "dead": api.Expired} {
		if got := w.state("db", id); got != want || w.ready("db."+id) != (want == api.Ready) {
			t.Errorf("after the restart %s is %q, ready %t; want %s", id, got, w.ready("db."+id), want)
		}
	}
	w.call("PUT", api.HeartbeatPath("shop", "db", "dead"), "")
	w.within(slack, "back after the restart", func() bool { return w.ready("db.dead") })
	// One that has come back has its own TTL again, not the grace of a restart.
	w.within(time.Second+slack, "out without another heartbeat", func() bool { return !w.ready("db.dead") })
}

func TestAChangeIsWrittenOnceTheAPIIsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("db", "one", `{"address":"192.0.2.7","port":5432,"ttl":"1s"}`)
	w.cluster.away(true)
	time.Sleep(1200 * time.Millisecond)
	w.cluster.away(false)
	w.within(slack, "out", func() bool { return !w.ready("db.one") })
}

func TestWhatSomebodyElseWritesIsPutRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("db", "one", `{"address":"192.0.2.7","port":5432}`)
	s := w.slice("db.one").DeepCopy()
	s.Endpoints[0].Addresses[0] = "192.0.2.99"
	if _, err := w.kube.DiscoveryV1().EndpointSlices("shop").Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.within(slack, "put right", func() bool { return w.slice("db.one").Endpoints[0].Addresses[0] == "192.0.2.7" })
	if err := w.kube.DiscoveryV1().EndpointSlices("shop").Delete(t.Context(), "db.one", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.within(slack, "deleted by hand", func() bool { return w.state("db", "one") == "" })
}

func TestADNSNameIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.resolve = func(_ context.Context, name string) ([]netip.Addr, error) {
		switch name {
		case "db.example.com":
			return []netip.Addr{netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("192.0.2.8"), netip.MustParseAddr("192.0.2.7")}, nil
		case "inside.example.com":
			return []netip.Addr{netip.MustParseAddr("10.244.0.9")}, nil
		}
		return nil, fmt.Errorf("no such host")
	}
	w.put("db", "one", `{"address":"DB.example.com.","port":5432}`)
	if got := fmt.Sprint(addresses(w.slice("db.one"))); got != "[192.0.2.7 192.0.2.8]" {
		t.Errorf("addresses = %s", got)
	}
	if _, body := w.call("GET", api.InstancePath("shop", "db", "one"), ""); !strings.Contains(body, `"addresses":["192.0.2.7","192.0.2.8"]`) {
		t.Errorf("the addresses are not told: %s", body)
	}
	w.store.entry(Ref{"shop", "db", "one"}).moved([]netip.Addr{netip.MustParseAddr("192.0.2.10")})
	w.within(slack, "the new address", func() bool { return fmt.Sprint(addresses(w.slice("db.one"))) == "[192.0.2.10]" })
	for name, want := range map[string]string{
		"gone.example.com":   `address: \"gone.example.com\" cannot be resolved: no such host`,
		"inside.example.com": `address: \"inside.example.com\" leads nowhere: 10.244.0.9 is a pod's`,
	} {
		if code, body := w.call("PUT", api.InstancePath("shop", "db", "two"), `{"address":"`+name+`","port":1}`); code != 400 || !strings.Contains(body, want) {
			t.Errorf("%s = %d %s, want 400 with %s", name, code, body, want)
		}
	}
}

func TestServicePortsFollowTheInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ports := func() string {
		var out []string
		for _, p := range w.service("api").Spec.Ports {
			out = append(out, fmt.Sprintf("%s=%d", p.Name, p.Port))
		}
		return strings.Join(out, " ")
	}
	w.put("api", "a", `{"address":"192.0.2.7","ports":[{"name":"http","port":8081,"servicePort":80,"appProtocol":"http"}]}`)
	w.put("api", "b", `{"address":"192.0.2.7","ports":[{"name":"http","port":8082},{"name":"metrics","port":9090}]}`)
	if got := ports(); got != "http=80 metrics=9090" {
		t.Errorf("ports = %s", got)
	}
	if p := w.slice("api.b").Ports[0]; *p.Port != 8082 || *p.Name != "http" {
		t.Errorf("the second instance's port = %+v", p)
	}
	for body, want := range map[string]string{
		`{"address":"192.0.2.9","ports":[{"name":"http","port":1,"servicePort":81}]}`:   `ports[0].servicePort: 81: other instances have it at 80`,
		`{"address":"192.0.2.9","ports":[{"name":"http","port":1,"protocol":"udp"}]}`:   `ports[0].protocol: UDP: other instances speak TCP`,
		`{"address":"192.0.2.9","ports":[{"name":"other","port":1,"servicePort":80}]}`:  `ports[0].servicePort: 80 is that of port \"http\" already`,
		`{"address":"192.0.2.9","port":7}`:                                              `ports: the service has several, of which each needs a name; 7 has none`,
		`{"address":"192.0.2.9","headless":true,"ports":[{"name":"http","port":8083}]}`: `headless: is false for the service's other instances`,
	} {
		if code, got := w.call("PUT", api.InstancePath("shop", "api", "c"), body); code != 409 || !strings.Contains(got, want) {
			t.Errorf("PUT %s = %d %s, want 409 with %s", body, code, got, want)
		}
	}
	w.call("DELETE", api.InstancePath("shop", "api", "b"), "")
	w.put("api", "a", `{"address":"192.0.2.7","ports":[{"name":"http","port":8081,"servicePort":8000}]}`)
	if got := ports(); got != "http=8000" {
		t.Errorf("ports of the one that is left = %s", got)
	}
}

func TestHeadlessServicesTakeBothFamilies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("db", "four", `{"address":"192.0.2.7","port":5432,"headless":true}`)
	w.put("db", "six", `{"address":"2001:db8::7","port":5432}`)
	if svc := w.service("db"); svc.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("address = %s, want None", svc.Spec.ClusterIP)
	}
	if s := w.slice("db.six"); s.AddressType != discoveryv1.AddressTypeIPv6 {
		t.Errorf("the EndpointSlice = %+v", s)
	}
	w.put("db", "six", `{"address":"192.0.2.8","port":5432}`)
	if s := w.slice("db.six"); s.AddressType != discoveryv1.AddressTypeIPv4 {
		t.Errorf("after a change of family: %+v", s)
	}
	w.put("web", "one", `{"address":"192.0.2.7","port":80}`)
	w.put("web", "one", `{"address":"192.0.2.7","port":80,"headless":true}`)
	if svc := w.service("web"); svc.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("made headless, address = %s", svc.Spec.ClusterIP)
	}
	if code, body := w.call("PUT", api.InstancePath("shop", "other", "six"), `{"address":"2001:db8::7","port":5432}`); code != 400 || !strings.Contains(body, "register the service as headless") || w.service("other") != nil {
		t.Errorf("IPv6 with an address of the service = %d %s", code, body)
	}
}

func TestBadInputIsRefusedByField(t *testing.T) {
	t.Parallel()
	own := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", Labels: map[string]string{"apps.sampan.dev/app": "web"}},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}},
	}
	w := newWorld(t, own)
	for name, tt := range map[string]struct {
		service, id, body string
		code              int
		field, want       string
	}{
		"no address":                 {body: `{"port":1}`, field: "address", want: "is missing"},
		"an address that is none":    {body: `{"address":"10.0.0.300","port":1}`, field: "address", want: "neither an IP address nor a DNS name"},
		"loopback":                   {body: `{"address":"127.0.0.1","port":1}`, field: "address", want: "is loopback"},
		"loopback by name":           {body: `{"address":"localhost","port":1}`, field: "address", want: "is this machine to everybody who asks"},
		"loopback in IPv6":           {body: `{"address":"::1","port":1}`, field: "address", want: "is loopback"},
		"loopback as IPv6":           {body: `{"address":"::ffff:127.0.0.1","port":1}`, field: "address", want: "is loopback"},
		"link-local":                 {body: `{"address":"169.254.169.254","port":1}`, field: "address", want: "is link-local"},
		"link-local with a zone":     {body: `{"address":"fe80::1%eth0","port":1}`, field: "address", want: "has a zone"},
		"unspecified":                {body: `{"address":"0.0.0.0","port":1}`, field: "address", want: "is nobody's"},
		"multicast":                  {body: `{"address":"224.0.0.1","port":1}`, field: "address", want: "is not the address of one machine"},
		"a pod's address":            {body: `{"address":"10.244.3.4","port":1}`, field: "address", want: "is a pod's"},
		"a Service's address":        {body: `{"address":"10.96.0.1","port":1}`, field: "address", want: "is the address of a Service"},
		"no port":                    {body: `{"address":"192.0.2.7"}`, field: "port", want: "is missing"},
		"a port that is none":        {body: `{"address":"192.0.2.7","port":70000}`, field: "port", want: "70000 is not a port"},
		"two ports without names":    {body: `{"address":"192.0.2.7","ports":[{"port":1},{"name":"b","port":2}]}`, field: "ports[0].name", want: "is missing"},
		"a port as text":             {body: `{"address":"192.0.2.7","port":"80"}`, field: "port", want: "string is not what belongs here: int"},
		"a TTL that is none":         {body: `{"address":"192.0.2.7","port":1,"ttl":"soon"}`, field: "ttl", want: "is not a duration"},
		"a TTL as a number":          {body: `{"address":"192.0.2.7","port":1,"ttl":10}`, field: "ttl", want: "is not a duration"},
		"a TTL too short":            {body: `{"address":"192.0.2.7","port":1,"ttl":"10ms"}`, field: "ttl", want: "is not between 1s and 24h"},
		"a check of nothing":         {body: `{"address":"192.0.2.7","port":1,"check":{}}`, field: "check", want: "neither http, a path, nor tcp"},
		"a check's path":             {body: `{"address":"192.0.2.7","port":1,"check":{"http":"health"}}`, field: "check.http", want: "is not a path"},
		"a check's interval":         {body: `{"address":"192.0.2.7","port":1,"check":{"tcp":true,"interval":"x"}}`, field: "check.interval", want: "is not a duration"},
		"a check of UDP":             {body: `{"address":"192.0.2.7","ports":[{"port":1,"protocol":"UDP"}],"check":{"tcp":true}}`, field: "check.port", want: "the first port speaks UDP"},
		"an unknown field":           {body: `{"address":"192.0.2.7","prot":1}`, field: "prot", want: "there is no such field"},
		"nothing":                    {body: ``, want: "the request is empty"},
		"no JSON":                    {body: `address=1`, want: "the request is not JSON"},
		"two instances":              {body: `{"address":"192.0.2.7","port":1}{}`, want: "more than one JSON value"},
		"too much meta":              {body: `{"address":"192.0.2.7","port":1,"meta":{"x":"` + strings.Repeat("x", 5000) + `"}}`, field: "meta", want: "at most 4096"},
		"a body without end":         {body: `{"address":"` + strings.Repeat("x", 70000) + `"}`, want: "more than 65536 bytes"},
		"a service's name":           {service: "Data_Base", body: `{"address":"192.0.2.7","port":1}`, field: "name", want: "cannot be a service's"},
		"an ID":                      {id: "a.b", body: `{"address":"192.0.2.7","port":1}`, field: "id", want: "is not a DNS label"},
		"another ID":                 {body: `{"id":"two","address":"192.0.2.7","port":1}`, field: "id", want: `"two" is not the "one" of the path`},
		"a name that is somebody's":  {service: "web", body: `{"address":"192.0.2.7","port":1}`, code: 409, field: "name", want: "Service shop/web belongs to the App web: choose another name"},
		"several mistakes, all told": {body: `{"address":"127.0.0.1","port":0,"ttl":"1ms"}`, field: "ttl", want: "is loopback"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.service == "" {
				tt.service = "db"
			}
			if tt.id == "" {
				tt.id = "one"
			}
			if tt.code == 0 {
				tt.code = 400
			}
			code, body := w.call("PUT", api.InstancePath("shop", tt.service, tt.id), tt.body)
			var status metav1.Status
			if err := json.Unmarshal([]byte(body), &status); err != nil {
				t.Fatalf("%d %s: %v", code, body, err)
			}
			var fields []string
			if status.Details != nil {
				for _, c := range status.Details.Causes {
					fields = append(fields, c.Field)
				}
			}
			if code != tt.code || !strings.Contains(status.Message, tt.want) || tt.field != "" && !slices.Contains(fields, tt.field) || status.Kind != "Status" {
				t.Errorf("= %d %s %q, want %d with %q about %s", code, status.Message, fields, tt.code, tt.want, tt.field)
			}
		})
	}
	for _, x := range w.cluster.written() {
		if x != "create services web" {
			t.Errorf("written: %s", x)
		}
	}
	if code, body := w.call("DELETE", api.ServicePath("shop", "web"), ""); code != 409 || !strings.Contains(body, "belongs to the App web") || w.service("web") == nil {
		t.Errorf("DELETE of another's Service = %d %s", code, body)
	}
	if code, _ := w.call("GET", api.ServicePath("shop", "web"), ""); code != 404 {
		t.Errorf("GET of another's Service = %d, want 404", code)
	}
}

func TestAWatchTellsEveryChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("db", "one", `{"address":"192.0.2.7","port":5432,"ttl":"1s"}`)
	w.within(slack, "listed", func() bool {
		_, body := w.call("GET", api.ServicePath("shop", "db"), "")
		return strings.Contains(body, `"one"`)
	})
	res, err := http.Get(w.url + api.ServicePath("shop", "") + "?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	until := func(kind, service, want string) {
		t.Helper()
		for lines.Scan() {
			var e api.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			if e.Type == kind && e.Object.Name == service && strings.Contains(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("no %s of %s with %s", kind, service, want)
	}
	until("ADDED", "db", `"state":"ready"`)
	until("MODIFIED", "db", `"state":"expired"`)
	w.put("web", "one", `{"address":"192.0.2.7","port":80}`)
	until("ADDED", "web", ``)
	w.call("DELETE", api.ServicePath("shop", "db"), "")
	until("DELETED", "db", ``)
	// A catalog that stops ends it: its clients come again.
	w.stop()
	for lines.Scan() {
	}
}
