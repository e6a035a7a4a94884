package image

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// testProxy is an HTTP proxy that notes what it is asked for.
type testProxy struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	refuse int // an answer instead
}

func newProxy(t *testing.T) *testProxy {
	t.Helper()
	p := &testProxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
		refuse := p.refuse
		p.mu.Unlock()
		if refuse != 0 {
			w.WriteHeader(refuse)
			return
		}
		if r.Method != http.MethodConnect {
			r.RequestURI = ""
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			defer res.Body.Close()
			for k, v := range res.Header {
				w.Header()[k] = v
			}
			w.WriteHeader(res.StatusCode)
			io.Copy(w, res.Body)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		fmt.Fprint(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(there, here)
			there.Close()
		}()
		io.Copy(here, there)
	}))
	t.Cleanup(p.Close)
	return p
}

// take returns what the proxy was asked for, and forgets it.
func (p *testProxy) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.asked
	p.asked = nil
	return out
}

// outward is an address of this machine that is not loopback: for loopback no
// proxy is ever asked.
func outward(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr().String()
		}
	}
	t.Skip("no address but loopback")
	return ""
}

// pullRef and pullPlain tell this test's other process what to pull, and how.
const (
	pullRef   = "SAMPAN_TEST_PULL"
	pullPlain = "SAMPAN_TEST_PULL_PLAIN"
)

// TestPullThroughAProxy pulls in processes of its own: the environment's proxies
// are read once in each.
func TestPullThroughAProxy(t *testing.T) {
	if ref := os.Getenv(pullRef); ref != "" {
		s := openStore(t, Config{Attempts: 1, Registries: map[string]Registry{"*": {Insecure: true, PlainHTTP: os.Getenv(pullPlain) != ""}}})
		if _, err := s.Pull(t.Context(), ref, PullOptions{}); err != nil {
			t.Fatal(err)
		}
		return
	}
	addr := outward(t)
	reg := newRegistry(t)
	reg.image(t, "shop/web", "3", amd64, layer(t, file("a", "x")))
	// The same registry where a proxy may be asked for it.
	serve := func(start func(*httptest.Server)) string {
		outside := httptest.NewUnstartedServer(reg.Config.Handler)
		l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			t.Fatal(err)
		}
		outside.Listener.Close()
		outside.Listener = l
		outside.Config.ErrorLog = log.New(io.Discard, "", 0)
		start(outside)
		t.Cleanup(outside.Close)
		return l.Addr().String()
	}
	secure, plain := serve((*httptest.Server).StartTLS), serve((*httptest.Server).Start)
	proxy := newProxy(t)
	with := strings.Replace(proxy.URL, "http://", "http://ann:secret@", 1)
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:secret"))
	for name, tt := range map[string]struct {
		env    []string
		host   string
		asked  string // empty: it must not be
		refuse int
		fails  string
	}{
		"HTTPS_PROXY is asked":                      {env: []string{"HTTPS_PROXY=" + proxy.URL}, host: secure, asked: "CONNECT " + secure},
		"it is told who asks":                       {env: []string{"HTTPS_PROXY=" + with}, host: secure, asked: "CONNECT " + secure + " " + login},
		"NO_PROXY names the host":                   {env: []string{"HTTPS_PROXY=" + proxy.URL, "NO_PROXY=example.com," + addr}, host: secure},
		"NO_PROXY names its network":                {env: []string{"HTTPS_PROXY=" + proxy.URL, "NO_PROXY=" + addr + "/24"}, host: secure},
		"NO_PROXY names others":                     {env: []string{"HTTPS_PROXY=" + proxy.URL, "NO_PROXY=example.com"}, host: secure, asked: "CONNECT " + secure},
		"HTTP_PROXY is not asked for HTTPS":         {env: []string{"HTTP_PROXY=" + proxy.URL}, host: secure},
		"HTTP_PROXY is asked for HTTP":              {env: []string{"HTTP_PROXY=" + proxy.URL, pullPlain + "=1"}, host: plain, asked: "GET " + plain},
		"a proxy that refuses is what the error is": {env: []string{"HTTPS_PROXY=" + proxy.URL}, host: secure, asked: "CONNECT " + secure, refuse: http.StatusForbidden, fails: "Forbidden"},
		"a proxy that is away is what the error is": {env: []string{"HTTPS_PROXY=http://127.0.0.1:1"}, host: secure, fails: "127.0.0.1:1: connect: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			proxy.take()
			proxy.mu.Lock()
			proxy.refuse = tt.refuse
			proxy.mu.Unlock()
			cmd := exec.Command(os.Args[0], "-test.run=^TestPullThroughAProxy$", "-test.timeout=30s")
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir(), pullRef + "=" + tt.host + "/shop/web:3"}, tt.env...)
			out, err := cmd.CombinedOutput()
			if (err != nil) != (tt.fails != "") || !strings.Contains(string(out), tt.fails) {
				t.Errorf("pull = %v: %s; want it to fail with %q", err, out, tt.fails)
			}
			asked := proxy.take()
			if len(asked) == 0 != (tt.asked == "") || len(asked) > 0 && !strings.HasPrefix(asked[0], tt.asked) {
				t.Errorf("the proxy was asked %q, want %q", asked, tt.asked)
			}
		})
	}
}

func TestARegistrysOwnProxy(t *testing.T) {
	addr := outward(t)
	reg := newRegistry(t)
	reg.image(t, "shop/web", "3", amd64, layer(t, file("a", "x")))
	proxy := newProxy(t)
	// Nothing listens there: that the proxy is asked is the point.
	_, port, _ := strings.Cut(reg.host, ":")
	host := addr + ":" + port
	s := openStore(t, Config{Attempts: 1, Registries: map[string]Registry{host: {Insecure: true, Proxy: proxy.URL}}})
	_, err := s.Pull(t.Context(), host+"/shop/web:3", PullOptions{})
	if asked := proxy.take(); len(asked) == 0 || !strings.HasPrefix(asked[0], "CONNECT "+host) {
		t.Errorf("Pull = %v, the proxy was asked %q; want CONNECT %s", err, asked, host)
	}
}

// A foreign layer is not in the registry; its manifest says where it is.
func TestAForeignLayerIsFetchedFromWhereItIs(t *testing.T) {
	data := gzipped(t, layer(t, file("a", "x")))
	var asked, auth []string
	var body []byte
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, auth = append(asked, r.URL.Path), append(auth, r.Header.Get("Authorization"))
		if r.URL.Path != "/layers/1" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Write(body)
	}))
	t.Cleanup(elsewhere.Close)
	clear := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Error("asked in the clear for a layer")
		w.Write(data)
	}))
	t.Cleanup(clear.Close)
	for name, tt := range map[string]struct {
		urls  []string
		body  []byte
		fails string
	}{
		"at its address":             {[]string{elsewhere.URL + "/layers/1"}, data, ""},
		"at the first that has it":   {[]string{clear.URL + "/layers/1", elsewhere.URL + "/gone", elsewhere.URL + "/layers/1"}, data, ""},
		"nowhere":                    {[]string{elsewhere.URL + "/gone"}, data, "404 not found"},
		"no address":                 {nil, data, "check name and tag"},
		"something else lies there":  {[]string{elsewhere.URL + "/layers/1"}, []byte(strings.Repeat("y", len(data))), "sent something else"},
		"an address that is no HTTP": {[]string{"file:///etc/passwd", "ftp://example.com/x"}, data, "check name and tag"},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			manifest := foreign(t, reg, data, tt.urls)
			asked, auth, body = nil, nil, tt.body
			s := reg.store(t, func(c *Config) {
				c.Attempts = 1
				c.Registries["*"] = Registry{Insecure: true}
				c.Registries[reg.host] = Registry{CAFiles: []string{reg.caFile}, Auth: &Auth{Username: "ann", Password: "secret"}}
			})
			img, err := s.Pull(t.Context(), reg.host+"/win@"+manifest.Digest.String(), PullOptions{})
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("Pull = %v, want it to fail with %q", err, tt.fails)
				}
				return
			}
			if err != nil || len(img.Layers) != 1 {
				t.Fatalf("Pull = %+v, %v; asked for %q", img, err, asked)
			}
			for _, a := range auth {
				if a != "" {
					t.Errorf("the registry's credentials went elsewhere: %q", a)
				}
			}
		})
	}
}

// foreign pushes the manifest of an image whose one layer, data, is elsewhere.
func foreign(t *testing.T, reg *testRegistry, data []byte, urls []string) ocispec.Descriptor {
	t.Helper()
	whole := reg.image(t, "tmp", "1", amd64, layer(t, file("a", "x")))
	text := string(reg.get(t, "/v2/tmp/manifests/"+whole.Digest.String()))
	var manifest ocispec.Manifest
	unmarshal(t, text, &manifest)
	// The registry that is asked for it has it under another repository only.
	reg.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/win/blobs/"+manifest.Layers[0].Digest.String()) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		next.ServeHTTP(w, r)
	})
	manifest.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	manifest.Layers[0].URLs = urls
	if manifest.Layers[0].Size != int64(len(data)) {
		t.Fatal("the layer is not what the test serves")
	}
	config := reg.get(t, "/v2/tmp/blobs/"+manifest.Config.Digest.String())
	reg.put(t, "win", "", ocispec.MediaTypeImageConfig, config)
	return reg.put(t, "win", "", ocispec.MediaTypeImageManifest, marshal(t, manifest))
}
