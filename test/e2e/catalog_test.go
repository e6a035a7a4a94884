package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/api/catalog"
)

const catalogManifests = `
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers: [{name: c, image: "` + image + `"}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: outside}
spec:
  parentRefs: [{name: sampan, namespace: sampan-system}]
  hostnames: [api.example.org]
  rules: [{backendRefs: [{name: api, port: 80}]}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: registrar}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: registrar}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: ServiceAccount, name: registrar, namespace: default}]
`

// A process on the machine is found and routed to as an app inside is, is out
// when it stops, and stays registered whatever happens to the daemon.
func TestAProcessOutsideTheCluster(t *testing.T) {
	h := up(t, "")
	if err := h.write("catalog.yaml", catalogManifests, 0o644); err != nil {
		t.Fatal(err)
	}
	h.must(t, "kubectl", "apply", "-f", filepath.Join(h.dir, "catalog.yaml"))
	h.must(t, "kubectl", "wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
	dns := h.dns(t)
	process := h.outside(t, "serve", "7500")

	h.must(t, "service", "register", "api", "--address", h.addr, "--port", "http=80:7500", "--check", "http:/health", "--interval", "1s", "--id", "one")
	if err := h.lookup(dns, "api.default.svc.cluster.local", patience); err != nil {
		t.Fatal(err)
	}
	if took := h.namedWithin(t, dns); took > time.Second {
		t.Errorf("found by name %s after it was registered, want 1s", took)
	}
	address := h.must(t, "kubectl", "get", "service", "api", "-o", "jsonpath={.spec.clusterIP}")
	if got := h.must(t, "kubectl", "exec", "client", "--", "/bin/toolbox", "lookup", "api"); strings.TrimSpace(got) != address {
		t.Errorf("a pod finds api at %q, want %s", got, address)
	}
	eventually(t, "a pod reaches it", func() bool {
		got, err := h.sampan("kubectl", "exec", "client", "--", "/bin/toolbox", "get", "http://api/from-a-pod")
		return err == nil && strings.Contains(got, " /from-a-pod ")
	})
	routed := func() string {
		body, err := h.ask(http.MethodGet, "http://"+h.addr+"/by-the-gateway", "api.example.org", "", "")
		if err != nil {
			return err.Error()
		}
		return body
	}
	eventually(t, "the gateway routes to it", func() bool { return strings.Contains(routed(), " /by-the-gateway ") })
	if out := h.must(t, "service", "list"); !strings.Contains(out, "(outside)") || !strings.Contains(out, "1/1") {
		t.Errorf("service list:\n%s", out)
	}

	// Whoever may edit the namespace may register in it, and nowhere else.
	token := strings.TrimSpace(h.must(t, "kubectl", "create", "token", "registrar"))
	api := "https://" + h.addr + ":6443"
	body := fmt.Sprintf(`{"address":%q,"port":7501,"ttl":"2s"}`, h.addr)
	for path, want := range map[string]string{
		catalog.InstancePath("default", "beating", "one"):     "201",
		catalog.InstancePath("kube-system", "beating", "one"): "403",
	} {
		if out, err := h.ask(http.MethodPut, api+path, "", token, body); !strings.HasPrefix(fmt.Sprint(err), want) {
			t.Errorf("PUT %s = %v %s, want %s", path, err, out, want)
		}
	}
	if out, err := h.ask(http.MethodPut, api+catalog.InstancePath("default", "beating", "two"), "", "", body); !strings.HasPrefix(fmt.Sprint(err), "40") {
		t.Errorf("PUT by nobody = %v %s, want it refused", err, out)
	}

	// It stops, and is out within its interval and a second; so is what no longer
	// beats.
	if err := process(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "out after it stopped", func() bool { return h.endpoint(t, "api") == "false" })
	// Its interval and a second; the rest is for kubectl, which is asked for it.
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("out %s after it stopped, want 2s", took)
	}
	eventually(t, "the gateway says so", func() bool { return strings.Contains(routed(), "503") })
	eventually(t, "out without heartbeats", func() bool { return h.endpoint(t, "beating") == "false" })

	// The daemon is killed, and nothing is lost.
	h.outside(t, "serve", "7500")
	eventually(t, "back with its process", func() bool { return h.endpoint(t, "api") == "true" })
	h.kill9(t, "sampand")
	h.must(t, "up")
	if out := h.must(t, "service", "show", "api"); !strings.Contains(out, "one") || !strings.Contains(out, "ready") {
		t.Errorf("after the daemon was killed:\n%s", out)
	}
	if got := routed(); !strings.Contains(got, " /by-the-gateway ") {
		t.Errorf("routed after the daemon was killed: %s", got)
	}
	h.must(t, "service", "heartbeat", "beating", "one")
	eventually(t, "back by a heartbeat", func() bool { return h.endpoint(t, "beating") == "true" })

	h.must(t, "service", "rm", "api")
	h.must(t, "service", "rm", "beating", "one")
	if out, err := h.sampan("kubectl", "get", "services,endpointslices"); err != nil || strings.Contains(out, "api") || strings.Contains(out, "beating") {
		t.Errorf("after rm there is still (%v):\n%s", err, out)
	}
}

// namedWithin is how soon a process is found by name once it is registered: the
// quickest of three, for a busy machine may hold up any one.
func (h *host) namedWithin(t testing.TB, dns string) time.Duration {
	t.Helper()
	quickest := patience
	for i := range 3 {
		service := fmt.Sprintf("quick%d", i)
		h.must(t, "service", "register", service, "--address", h.addr, "--port", "7503")
		began := time.Now()
		if err := h.lookup(dns, service+".default.svc.cluster.local", patience); err != nil {
			t.Fatal(err)
		}
		quickest = min(quickest, time.Since(began))
		h.must(t, "service", "rm", service)
	}
	return quickest
}

// outside runs a command of the toolbox on the machine itself, until stop or
// the test's end.
func (h *host) outside(t testing.TB, args ...string) (stop func() error) {
	t.Helper()
	archive, err := stage.toolbox()
	if err != nil {
		t.Fatal(err)
	}
	toolbox := filepath.Join(filepath.Dir(archive), "toolbox")
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + h.name, toolbox}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		return <-ended
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("toolbox %s: %v", strings.Join(args, " "), err)
		}
	})
	return stop
}

// endpoint says whether a service's one endpoint is ready.
func (h *host) endpoint(t testing.TB, service string) string {
	t.Helper()
	return h.must(t, "kubectl", "get", "endpointslices", "-l", "kubernetes.io/service-name="+service, "-o", "jsonpath={.items[*].endpoints[0].conditions.ready}")
}

// ask sends one request from inside the namespace. An answer that is not 200 is
// an error that begins with its code.
func (h *host) ask(method, url, hostname, token, body string) (string, error) {
	req, err := http.NewRequest(method, url, bytes.NewBufferString(body))
	if err != nil {
		return "", err
	}
	req.Host = hostname
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	// The API's certificate is looked at where it is made.
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: h.dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d", res.StatusCode)
	}
	return string(data), err
}

// dns is the address of the cluster's DNS.
func (h *host) dns(t testing.TB) string {
	t.Helper()
	return strings.TrimSpace(h.must(t, "kubectl", "get", "service", "-n", "kube-system", "kube-dns", "-o", "jsonpath={.spec.clusterIP}"))
}

const followService = `
apiVersion: v1
kind: Service
metadata: {name: follow}
spec: {clusterIP: None, selector: {app: follow}, ports: [{port: 8080}]}
`

const followPod = `
apiVersion: v1
kind: Pod
metadata: {name: follow, labels: {app: follow}}
spec:
  containers:
  - name: c
    image: ` + image + `
    args: [serve, "7502"]
    readinessProbe: {tcpSocket: {port: 7502}, periodSeconds: 1}
    lifecycle: {preStop: {sleep: {seconds: 2}}}
`

// The name of a pod is there within a second of the pod being ready, and gone
// while its process still serves, as Apps and whoever sleeps before the end
// have it.
func TestNamesFollowPods(t *testing.T) {
	h := shared(t)
	dns := h.dns(t)
	const name = "follow.default.svc.cluster.local"
	service, pod := filepath.Join(h.dir, "service.yaml"), filepath.Join(h.dir, "pod.yaml")
	for path, text := range map[string]string{"service.yaml": followService, "pod.yaml": followPod} {
		if err := h.write(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h.must(t, "kubectl", "apply", "-f", service)
	t.Cleanup(func() { h.must(t, "kubectl", "delete", "-f", service, "-f", pod, "--ignore-not-found") })

	// Upstream's controller of EndpointSlices waits a second when a write of its own
	// has overtaken its watch, which a busy machine can make happen: once in three
	// times the name must be there in time.
	quickest := patience
	var addrs []string
	for range 3 {
		if got := h.addrs(dns, name); len(got) > 0 {
			t.Fatalf("the name leads to %q before the pod is there", got)
		}
		h.must(t, "kubectl", "apply", "-f", pod)
		h.must(t, "kubectl", "wait", "--for=condition=Ready", "pod/follow", "--timeout=60s")
		began := time.Now()
		eventually(t, "the name of a pod that is ready", func() bool { addrs = h.addrs(dns, name); return len(addrs) == 1 })
		quickest = min(quickest, time.Since(began))
		if quickest <= time.Second {
			break
		}
		h.must(t, "kubectl", "delete", "-f", pod)
	}
	if quickest > time.Second {
		t.Fatalf("the name was there %s after the pod was ready, want 1s", quickest)
	}

	serves := func() bool {
		_, err := h.get("http://"+net.JoinHostPort(addrs[0], "7502")+"/", 0)
		return err == nil
	}
	if !serves() {
		t.Fatal("the pod does not serve")
	}
	h.must(t, "kubectl", "delete", "pod", "follow", "--wait=false")
	began := time.Now()
	for slices.Equal(h.addrs(dns, name), addrs) {
		if !serves() {
			t.Fatal("the pod does not serve any more, and its name is still there")
		}
		if time.Since(began) > patience {
			t.Fatal("the name stays")
		}
	}
	if !serves() {
		t.Error("the name was gone only when the pod had stopped")
	}
	t.Logf("the name was there %s after the pod was seen ready, and gone %s after it was deleted", quickest, time.Since(began))
}

// addrs asks a name server from inside the namespace once.
func (h *host) addrs(server, name string) []string {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return h.dial(ctx, network, net.JoinHostPort(server, "53"))
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	found, err := r.LookupHost(ctx, name+".")
	if err != nil {
		return nil
	}
	return found
}
