package dns

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"text/template"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Deployment says how the DNS is put into a cluster.
type Deployment struct {
	Image     string     // of sampan-edge
	ClusterIP netip.Addr // what pods have in their resolv.conf
	DNS       Config
}

//go:embed manifests.yaml
var manifestsYAML string

var manifests = template.Must(template.New("manifests.yaml").Parse(manifestsYAML))

// Manifests returns the objects of d for server-side apply.
func Manifests(d Deployment) ([]byte, error) {
	d.DNS = d.DNS.Defaulted()
	if err := d.DNS.Check(); err != nil {
		return nil, err
	}
	if d.Image == "" || strings.ContainsAny(d.Image, " \t\n\"\\") {
		return nil, fmt.Errorf("dns image %q: not an image name: %w", d.Image, fault.Invalid)
	}
	if !d.ClusterIP.IsValid() {
		return nil, fmt.Errorf("dns: no cluster address is set: %w", fault.Invalid)
	}
	// JSON is YAML, and a pod sees the key it is under as the file.
	config, err := json.Marshal(map[string]Config{"dns": d.DNS})
	if err != nil {
		return nil, fmt.Errorf("encode dns configuration: %w", err)
	}
	sum := sha256.Sum256(config)
	var out bytes.Buffer
	err = manifests.Execute(&out, map[string]any{
		"Image":     d.Image,
		"ClusterIP": d.ClusterIP.String(),
		"Port":      d.DNS.Port,
		"Config":    string(config),
		// The pods read their configuration once: another one is another pod.
		"ConfigSum":   hex.EncodeToString(sum[:8]),
		"HealthPort":  portOf(d.DNS.Health),
		"ReadyPort":   portOf(d.DNS.Ready),
		"MetricsPort": portOf(d.DNS.Metrics),
	})
	if err != nil {
		return nil, fmt.Errorf("write dns manifests: %w", err)
	}
	return out.Bytes(), nil
}

// portOf is what follows the last colon of an address that Check has passed.
func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
