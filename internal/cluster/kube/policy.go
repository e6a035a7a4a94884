package kube

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// auditPolicy records who did what, without bodies. What the components do to
// keep the cluster alive is left out: it is most of the traffic and nobody's
// decision.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi*", "/apis*", "/api"]
- level: None
  resources:
  - group: coordination.k8s.io
    resources: [leases]
  - group: ""
    resources: [events]
  - group: events.k8s.io
    resources: [events]
  - group: catalog.sampan.dev
    resources: [services/heartbeats]
- level: None
  verbs: [get, list, watch]
  userGroups: ["system:nodes", "system:serviceaccounts:kube-system"]
- level: None
  verbs: [get, list, watch]
  users: ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy", "sampan"]
- level: None
  userGroups: ["system:nodes"]
  verbs: [patch, update]
  resources:
  - group: ""
    resources: ["nodes/status", "pods/status"]
- level: Metadata
`

// authentication lets nobody in without credentials, except those who ask
// whether the server is well.
const authentication = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions:
  - path: /livez
  - path: /readyz
  - path: /healthz
`

// encryption returns the configuration that encrypts secrets in etcd. Its key is
// made once; identity comes last so that a database from before can be read.
func encryption(key string) string {
	return `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox:
      keys:
      - name: key1
        secret: ` + key + `
  - identity: {}
`
}

// writePolicies writes the files that the API server reads at its start.
func writePolicies(cfg Config) error {
	for path, text := range map[string]string{
		cfg.auditPolicy():    auditPolicy,
		cfg.authentication(): authentication,
	} {
		if err := writeFile(path, []byte(text)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(cfg.encryption()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(cfg.path("etcd", "member")); err == nil {
		// A new key could not read the secrets that the lost one has locked.
		return fmt.Errorf("%s is missing while etcd has data: put it back from a backup", cfg.encryption())
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	return writeFile(cfg.encryption(), []byte(encryption(base64.StdEncoding.EncodeToString(key))))
}

func (c Config) auditPolicy() string    { return c.path("config", "audit-policy.yaml") }
func (c Config) authentication() string { return c.path("config", "authentication.yaml") }
func (c Config) encryption() string     { return c.path("pki", "encryption.yaml") }
