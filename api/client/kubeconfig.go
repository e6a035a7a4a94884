package client

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// kubeconfig is the part of kubectl's file that is needed to reach a server.
type kubeconfig struct {
	CurrentContext string `yaml:"current-context"`
	Contexts       []struct {
		Name    string
		Context struct{ Cluster, User, Namespace string }
	}
	Clusters []struct {
		Name    string
		Cluster struct {
			Server string
			CA     string `yaml:"certificate-authority-data"`
			CAFile string `yaml:"certificate-authority"`
		}
	}
	Users []struct {
		Name string
		User struct {
			Cert     string `yaml:"client-certificate-data"`
			CertFile string `yaml:"client-certificate"`
			Key      string `yaml:"client-key-data"`
			KeyFile  string `yaml:"client-key"`
			Token    string
		}
	}
}

// AdminKubeconfig is where a cloud keeps the file for its administrator.
func AdminKubeconfig(dataDir string) string {
	return filepath.Join(dataDir, "kube", "admin.kubeconfig")
}

// OpenKube reads a kubeconfig and returns the server of its current context.
func OpenKube(path string) (*Kube, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c kubeconfig
	if err := yaml.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	k, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func (c *kubeconfig) open() (*Kube, error) {
	k := &Kube{Namespace: "default"}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	transport := &http.Transport{TLSClientConfig: cfg, TLSHandshakeTimeout: handshake, ForceAttemptHTTP2: true}
	var cluster, user string
	for _, x := range c.Contexts {
		if x.Name == c.CurrentContext {
			cluster, user = x.Context.Cluster, x.Context.User
			if x.Context.Namespace != "" {
				k.Namespace = x.Context.Namespace
			}
		}
	}
	for _, x := range c.Clusters {
		if x.Name != cluster {
			continue
		}
		k.Server = x.Cluster.Server
		ca, err := material(x.Cluster.CA, x.Cluster.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", x.Name, err)
		}
		if ca != nil {
			cfg.RootCAs = x509.NewCertPool()
			cfg.RootCAs.AppendCertsFromPEM(ca)
		}
	}
	if k.Server == "" {
		return nil, fmt.Errorf("context %q: its cluster: %w", c.CurrentContext, fault.NotFound)
	}
	k.http = &http.Client{Transport: transport}
	for _, x := range c.Users {
		if x.Name != user {
			continue
		}
		cert, err := material(x.User.Cert, x.User.CertFile)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", x.Name, err)
		}
		key, err := material(x.User.Key, x.User.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", x.Name, err)
		}
		if cert != nil {
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				return nil, fmt.Errorf("user %s: %w", x.Name, err)
			}
			cfg.Certificates = []tls.Certificate{pair}
		}
		if x.User.Token != "" {
			k.http.Transport = bearer{x.User.Token, transport}
		}
	}
	return k, nil
}

// material returns what a kubeconfig gives inline or in a file, or nil.
func material(inline, file string) ([]byte, error) {
	if inline != "" {
		return base64.StdEncoding.DecodeString(inline)
	}
	if file != "" {
		return os.ReadFile(file)
	}
	return nil, nil
}

// bearer adds a token to every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}
