package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadSaysWhatIsWrong(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"an unknown key is named with its line":    {"node:\n  nam: a\n", `line 2: unknown key "nam"`},
		"a value of the wrong type is named":       {"api:\n  port: many\n", "line 2: cannot unmarshal"},
		"a pod range must be a network":            {"network: {podCIDR: 10.244.0.1/16}", `network.podCIDR: "10.244.0.1/16" is not a network`},
		"ranges must not overlap":                  {"network: {podCIDR: 10.96.0.0/12}", "overlaps network.serviceCIDR"},
		"a relative data directory has no meaning": {"dataDir: data", `dataDir: "data" is not an absolute path`},
		"a port is a port":                         {"registry: {port: 70000}", "registry.port: 70000 is not a port"},
		"a link's name is short":                   {"network: {bridge: averylongbridgename}", "longer than the 15 characters"},
		"a cgroup driver is one that there is":     {"engine: {cgroupDriver: docker}", `"docker" is neither cgroupfs nor systemd`},
		"a node's address is an address":           {"node: {address: here}", `node.address: "here" is not an IP address`},
		"a proxy in front is an address":           {"gateway: {trustedProxies: [lan]}", `gateway.trustedProxies: "lan" is neither a network`},
		"a public authority wants an address":      {"gateway: {acme: {directory: https://ca.example.com}}", "gateway.acme.email: is missing"},
		"an email address is one":                  {"gateway: {acme: {email: ops}}", `gateway.acme.email: "ops" is not an address`},
		"a directory is asked over TLS":            {"gateway: {acme: {email: a@b.c, directory: http://ca}}", `gateway.acme.directory: "http://ca" is not an https address`},
		"an authority's file has a whole path":     {"gateway: {acme: {email: a@b.c, ca: ca.pem}}", `gateway.acme.ca: "ca.pem" is not an absolute path`},
		"text that is not YAML is refused":         {"node: [", "did not find expected"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(tt.in), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load(%q) = %v, want an error with %q", tt.in, err, tt.want)
			}
		})
	}
}

func TestANamedFileMustBeThere(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("Load of a missing file = nil, want an error")
	}
}

func TestWhatMarshalWritesLoads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	want, err := Load("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	data, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("Load of what Marshal wrote: %v\n%s", err, data)
	}
}

func TestTwoDataDirectoriesShareNothing(t *testing.T) {
	a, b := Default(), Default()
	b.DataDir = "/srv/other"
	for _, f := range []*File{&a, &b} {
		if err := f.complete(); err != nil {
			t.Fatal(err)
		}
	}
	if a.RunDir == b.RunDir || a.Network.Bridge == b.Network.Bridge {
		t.Errorf("run directories %s, %s and bridges %s, %s; want different ones", a.RunDir, b.RunDir, a.Network.Bridge, b.Network.Bridge)
	}
}
