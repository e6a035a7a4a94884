package gateway

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"path"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Names that the API's objects call this gateway by.
const (
	// Controller is what a GatewayClass of it names.
	Controller = "gateway.sampan.dev/controller"
	// IngressController is what an IngressClass of it names.
	IngressController = "gateway.sampan.dev/ingress"
	// AutomaticCertificates is the TLS option, set to automatic, of a listener
	// whose certificates are made when they are needed.
	AutomaticCertificates = "gateway.sampan.dev/certificates"
)

// Deployment says how the gateway is put into a cluster.
type Deployment struct {
	Image   string // of sampan-edge
	DataDir string // on each node, for public certificates
	Gateway Config

	ACMERoots []byte // certificates, as PEM, to trust the public authority's address by; none is the usual ones
}

// crds are the Gateway API's definitions, the standard channel and what else is
// served, one JSON object a line. Copyright The Kubernetes Authors, under the Apache License 2.0.
//
//go:generate go run ./internal/crds zz_crds.json
//go:embed zz_crds.json
var crds []byte

// CRDs returns the definitions of the Gateway API for server-side apply.
func CRDs() []byte { return bytes.Clone(crds) }

//go:embed manifests.yaml
var manifestsYAML string

var manifests = template.Must(template.New("manifests.yaml").Parse(manifestsYAML))

const (
	podReadyFile = "/run/sampan-edge/ready"
	podDataDir   = "/data"
	podConfigDir = "/etc/sampan-edge"
	acmeRoots    = "acme-roots.pem"
)

// Manifests returns the objects of d for server-side apply. They need CRDs.
func Manifests(d Deployment) ([]byte, error) {
	if !filepath.IsAbs(d.DataDir) || strings.ContainsAny(d.DataDir, "\n\"\\") {
		return nil, fmt.Errorf("gateway data directory %q: not an absolute path that can be used: %w", d.DataDir, fault.Invalid)
	}
	if d.Image == "" || strings.ContainsAny(d.Image, " \t\n\"\\") {
		return nil, fmt.Errorf("gateway image %q: not an image name: %w", d.Image, fault.Invalid)
	}
	c := d.Gateway
	c.DataDir, c.ReadyFile = podDataDir, podReadyFile
	if c.ACME != nil && len(d.ACMERoots) > 0 {
		if !x509.NewCertPool().AppendCertsFromPEM(d.ACMERoots) {
			return nil, fmt.Errorf("gateway.acme.ca: the file has no certificate: %w", fault.Invalid)
		}
		own := *c.ACME
		own.CA = path.Join(podConfigDir, acmeRoots)
		c.ACME = &own
	}
	c = c.Defaulted()
	if err := c.Check(); err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]Config{"gateway": c})
	if err != nil {
		return nil, fmt.Errorf("encode gateway configuration: %w", err)
	}
	sum := sha256.Sum256(append(config, d.ACMERoots...))
	host, port, err := net.SplitHostPort(c.Admin)
	if err != nil {
		return nil, fmt.Errorf("gateway.admin: %w", err)
	}
	var out bytes.Buffer
	err = manifests.Execute(&out, map[string]any{
		"Image": d.Image, "DataDir": d.DataDir, "Namespace": c.Namespace,
		"Controller": Controller, "IngressController": IngressController, "Automatic": AutomaticCertificates,
		"HTTPPort": c.HTTPPort, "HTTPSPort": c.HTTPSPort, "AdminHost": host, "AdminPort": port, "ReadyFile": podReadyFile,
		"Config": string(config), "ConfigDir": podConfigDir, "ACMERootsFile": acmeRoots, "ACMERoots": string(d.ACMERoots),
		// The pods read their configuration once: another one is another pod.
		"ConfigSum": hex.EncodeToString(sum[:8]),
		"Grace":     int((c.DrainTime() + 15*time.Second).Seconds()),
	})
	if err != nil {
		return nil, fmt.Errorf("write gateway manifests: %w", err)
	}
	return out.Bytes(), nil
}
