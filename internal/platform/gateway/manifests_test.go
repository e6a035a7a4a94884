package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
)

func decode(t *testing.T, data []byte) []unstructured.Unstructured {
	t.Helper()
	var out []unstructured.Unstructured
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		var u unstructured.Unstructured
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
}

func TestManifestsHoldTheConfigurationThatThePodReads(t *testing.T) {
	data, err := Manifests(Deployment{Image: "edge:1", DataDir: "/var/lib/sampan/gateway", Gateway: Config{HTTPPort: 8080, Domain: "example.test"}})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, u := range decode(t, data) {
		kinds[u.GetKind()]++
		switch u.GetKind() {
		case "ConfigMap":
			text, _, _ := unstructured.NestedString(u.Object, "data", "edge.yaml")
			var got map[string]Config
			if err := json.Unmarshal([]byte(text), &got); err != nil || got["gateway"].HTTPPort != 8080 || got["gateway"].HTTPSPort != 443 || got["gateway"].Domain != "example.test" {
				t.Errorf("configuration = %s, %v", text, err)
			}
		case "Gateway":
			ls, _, _ := unstructured.NestedSlice(u.Object, "spec", "listeners")
			if port := ls[0].(map[string]any)["port"]; fmt.Sprint(port) != "8080" {
				t.Errorf("the default Gateway listens on %v; want 8080", port)
			}
		}
	}
	for _, kind := range []string{"Namespace", "ServiceAccount", "ClusterRole", "GatewayClass", "IngressClass", "Gateway", "ConfigMap", "DaemonSet"} {
		if kinds[kind] != 1 {
			t.Errorf("there are %d objects of kind %s; want one", kinds[kind], kind)
		}
	}
}

func TestThePublicAuthorityIsTrustedByWhatThePodHas(t *testing.T) {
	certPEM, _, err := cert.NewAuthority("acme", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d := Deployment{Image: "edge:1", DataDir: "/var/lib/sampan/gateway", ACMERoots: certPEM, Gateway: Config{ACME: &ACME{Email: "ops@example.com"}}}
	data, err := Manifests(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range decode(t, data) {
		if u.GetKind() != "ConfigMap" {
			continue
		}
		text, _, _ := unstructured.NestedString(u.Object, "data", "edge.yaml")
		roots, _, _ := unstructured.NestedString(u.Object, "data", "acme-roots.pem")
		var got map[string]Config
		if err := json.Unmarshal([]byte(text), &got); err != nil || got["gateway"].ACME.CA != "/etc/sampan-edge/acme-roots.pem" || roots != string(certPEM) {
			t.Errorf("configuration = %s with roots %q, %v; want the file that is beside it", text, roots, err)
		}
	}
	d.ACMERoots = []byte("no certificate")
	if _, err := Manifests(d); !errors.Is(err, fault.Invalid) {
		t.Errorf("Manifests = %v; want that the file is invalid", err)
	}
}

func TestTheDefinitionsAreThoseThatAreWatched(t *testing.T) {
	found := map[string]bool{}
	for _, u := range decode(t, CRDs()) {
		found[u.GetName()] = true
	}
	for _, plural := range []string{"gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants", "tlsroutes", "tcproutes", "udproutes"} {
		if name := plural + ".gateway.networking.k8s.io"; !found[name] {
			t.Errorf("there is no definition %s", name)
		}
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"a port beyond the last":   {Config{HTTPPort: 70000}, "gateway.httpPort 70000"},
		"one port for both":        {Config{HTTPPort: 443}, "gateway.httpsPort 443"},
		"a domain with a star":     {Config{Domain: "*.x"}, "gateway.domain"},
		"no duration":              {Config{Hold: "soon"}, `gateway.hold "soon"`},
		"an endless drain":         {Config{Drain: "48h"}, `gateway.drain "48h"`},
		"an address without port":  {Config{Admin: "localhost"}, "gateway.admin"},
		"a network that is a name": {Config{TrustedProxies: []string{"lan"}}, `gateway.trustedProxies "lan"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.cfg.Defaulted().Check()
			if err == nil || !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check = %v; want invalid with %q", err, tt.want)
			}
		})
	}
}
