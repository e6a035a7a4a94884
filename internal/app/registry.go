package app

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/run"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/platform/registry"
)

// registryUser is the registry's one administrator.
const registryUser = "admin"

// registryAuth reads the administrator's credential, made at the first start.
func (s settings) registryAuth() (*image.Auth, error) {
	path := s.data("registry", "password")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data = []byte(rand.Text() + "\n")
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("registry: credential: %w", err)
	}
	return &image.Auth{Username: registryUser, Password: strings.TrimSpace(string(data))}, nil
}

// registries are the built-in registry at each of its addresses, or none.
func (d *daemon) registries() ([]run.Part, error) {
	if !d.set.Registry.Enabled {
		return nil, nil
	}
	auth, err := d.set.registryAuth()
	if err != nil {
		return nil, err
	}
	access := registry.Admin{
		Credentials: registry.Credentials{Username: auth.Username, Password: auth.Password},
		Anonymous:   d.set.Registry.AnonymousPull,
	}
	cert, key := d.cluster.ServerCertificate("registry")
	r, err := registry.New(registry.Config{
		Root: d.set.data("registry"), Host: d.set.Registry.Name,
		Listen: net.JoinHostPort("", strconv.Itoa(d.set.Registry.Port)),
		TLS:    &tls.Config{GetCertificate: fromFiles(cert, key), MinVersion: tls.VersionTLS12},
	}, d.images, access, d.log.With("part", "registry"))
	if err != nil {
		return nil, err
	}
	return []run.Part{{Name: "registry", Service: r}}, nil
}

// fromFiles serves the certificate in two files as it is at the time of each
// handshake, so that a renewed one needs no restart.
func fromFiles(cert, key string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		return &pair, nil
	}
}

// trustDirs are where docker, podman and skopeo look for the authority of a
// registry, by its address.
var trustDirs = []string{"/etc/docker/certs.d", "/etc/containers/certs.d"}

// trustFiles are the files by which stock clients on this machine trust the
// registry under each of its names.
func (s settings) trustFiles() []string {
	var files []string
	for _, dir := range trustDirs {
		for _, host := range s.registryHosts() {
			files = append(files, filepath.Join(dir, host, s.Instance()+".crt"))
		}
	}
	return files
}

// trust lets stock clients on this machine trust the registry.
func (s settings) trust(ca string) error {
	data, err := os.ReadFile(ca)
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	for _, f := range s.trustFiles() {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			return fmt.Errorf("registry: trust: %w", err)
		}
		if err := os.WriteFile(f, data, 0o644); err != nil {
			return fmt.Errorf("registry: trust: %w", err)
		}
	}
	return nil
}

// distrust takes trust's files away, whichever names the registry had, and the
// directories that are then empty.
func (s settings) distrust() error {
	var errs []error
	for _, dir := range trustDirs {
		files, err := filepath.Glob(filepath.Join(dir, "*", s.Instance()+".crt"))
		errs = append(errs, err)
		for _, f := range files {
			errs = append(errs, os.Remove(f))
			// These fail where others' files are, and then they must.
			_ = os.Remove(filepath.Dir(f))
		}
		_ = os.Remove(dir)
	}
	return errors.Join(errs...)
}

// epoch is the time of everything in images that the program makes of itself, so
// that the same program makes the same image.
var epoch = time.Unix(0, 0).UTC()
