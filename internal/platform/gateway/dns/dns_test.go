package dns

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no domain":                    {func(c *Config) { c.Domain = "" }, `dns.domain "": not a domain: invalid`},
		"a domain that is a directive": {func(c *Config) { c.Domain = "a {\nwhoami" }, `dns.domain "a {\nwhoami": not a domain: invalid`},
		"an unknown pod mode":          {func(c *Config) { c.Pods = "yes" }, `dns.pods "yes": must be insecure, verified or disabled: invalid`},
		"a port that is none":          {func(c *Config) { c.Port = 70000 }, "dns.port 70000: not a port: invalid"},
		"an upstream that is a name":   {func(c *Config) { c.Upstreams = []string{"ns1.example.com"} }, `dns.upstreams "ns1.example.com": not an address with or without a port: invalid`},
		"an upstream that is a file":   {func(c *Config) { c.Upstreams = []string{"/etc/passwd"} }, `dns.upstreams "/etc/passwd": not an address with or without a port: invalid`},
		"a drain without end":          {func(c *Config) { c.Drain = "1h" }, `dns.drain "1h": not a duration of at most 30s: invalid`},
		"a listener without a port":    {func(c *Config) { c.Health = "localhost" }, `dns.health "localhost": not an address with a port: invalid`},
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{Domain: "cluster.local"}.Defaulted()
			tt.change(&c)
			if err := c.Check(); err == nil || err.Error() != tt.want {
				t.Errorf("Check = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestResolvers(t *testing.T) {
	for name, tt := range map[string]struct {
		file string
		want []string
	}{
		"name servers in their order":         {"# a comment\nsearch lan\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions edns0\n", []string{"192.0.2.53", "2001:db8::53"}},
		"loopback is nobody's":                {"nameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.53\n", []string{"192.0.2.53"}},
		"a zone would be a file for forward":  {"nameserver fe80::1%eth0\n", nil},
		"what is not an address is left out":  {"nameserver\nnameserver dns.example.com\n", nil},
		"an empty file has none, and says so": {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "resolv.conf")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := resolvers(path); err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("resolvers = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	if got, err := resolvers(filepath.Join(t.TempDir(), "none")); err != nil || got != nil {
		t.Errorf("resolvers of no file = %q, %v; want none", got, err)
	}
}

func TestCorefile(t *testing.T) {
	c := Config{Domain: "cluster.local", Upstreams: []string{"192.0.2.53"}, Bind: []string{"127.0.0.1"}}.Defaulted()
	got, err := c.Corefile()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "Corefile", []byte(got))
}

func TestManifests(t *testing.T) {
	d := Deployment{Image: "registry.local/sampan/edge:1", ClusterIP: netip.MustParseAddr("10.43.0.10"), DNS: Config{Domain: "cluster.local"}}
	got, err := Manifests(d)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "manifests.yaml", got)
	// Each strictly as its own type: the API server drops a misspelt field.
	types := map[string]any{
		"ServiceAccount": &corev1.ServiceAccount{}, "ClusterRole": &rbacv1.ClusterRole{}, "ClusterRoleBinding": &rbacv1.ClusterRoleBinding{},
		"ConfigMap": &corev1.ConfigMap{}, "DaemonSet": &appsv1.DaemonSet{}, "Service": &corev1.Service{},
	}
	for doc := range strings.SplitSeq(string(got), "\n---\n") {
		var kind metav1.TypeMeta
		if err := sigsyaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatal(err)
		}
		if err := sigsyaml.UnmarshalStrict([]byte(doc), types[kind.Kind]); err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
	}
	var kinds []string
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(got), 4096); ; {
		u := unstructured.Unstructured{}
		if err := decoder.Decode(&u.Object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, u.GetKind())
		if u.GetKind() != "ConfigMap" {
			continue
		}
		data, _, err := unstructured.NestedString(u.Object, "data", "edge.yaml")
		if err != nil || !strings.HasPrefix(data, `{"dns":{"domain":"cluster.local"`) {
			t.Errorf("the pod's configuration = %q, %v", data, err)
		}
	}
	want := []string{"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet", "Service"}
	if !slices.Equal(kinds, want) {
		t.Errorf("kinds = %q, want %q", kinds, want)
	}
	d.DNS.Pods = "disabled"
	if other, err := Manifests(d); err != nil || annotation(other) == annotation(got) {
		t.Errorf("another configuration makes no other pod: %s, %v", annotation(got), err)
	}
	d.Image = ""
	if _, err := Manifests(d); !errors.Is(err, fault.Invalid) {
		t.Errorf("Manifests without an image = %v, want it refused", err)
	}
}

// annotation is the line that changes with the configuration.
func annotation(manifests []byte) string {
	_, after, _ := strings.Cut(string(manifests), "sampan.io/config: ")
	line, _, _ := strings.Cut(after, "\n")
	return line
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and review.\ngot:\n%s", path, got)
	}
}
