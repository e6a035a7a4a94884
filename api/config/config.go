// Package config is the one configuration file of a node, as users write it.
//
// Every key has a default; a file names only what differs. Unknown keys are
// refused, so that a misspelt one is not silently without effect. The package is
// light: the command line reads it at every start.
package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Path is where the file is looked for when none is named.
const Path = "/etc/sampan/config.yaml"

// DataDir is the data directory when none is named.
const DataDir = "/var/lib/sampan"

// File is the configuration file.
type File struct {
	DataDir  string   `yaml:"dataDir"`  // everything that outlives a reboot
	RunDir   string   `yaml:"runDir"`   // sockets and pinned namespaces; gone after a reboot
	Node     Node     `yaml:"node"`     // this machine
	Network  Network  `yaml:"network"`  // addresses of pods and services
	API      API      `yaml:"api"`      // the Kubernetes API server
	Registry Registry `yaml:"registry"` // the built-in registry
	Images   Images   `yaml:"images"`   // where other images come from
	Engine   Engine   `yaml:"engine"`   // containers
	Gateway  Gateway  `yaml:"gateway"`  // how apps are reached from outside
	Catalog  Catalog  `yaml:"catalog"`  // services of processes outside the cluster
	Log      Log      `yaml:"log"`      // the daemon's own log
}

// Node describes this machine.
type Node struct {
	Name    string `yaml:"name"`    // of the Kubernetes node; the host name by default
	Address string `yaml:"address"` // others reach it by; that of the default route by default
	MaxPods int    `yaml:"maxPods"`
}

// Network says which addresses pods and services get.
type Network struct {
	PodCIDR     string `yaml:"podCIDR"`
	ServiceCIDR string `yaml:"serviceCIDR"`
	Domain      string `yaml:"domain"` // of the cluster's DNS
	Bridge      string `yaml:"bridge"` // the link that pods are attached to
	MTU         int    `yaml:"mtu"`    // 0: that of the default route's link
	Pool        int    `yaml:"pool"`   // how many pod networks are kept ready
}

// API says where the API server listens.
type API struct {
	Bind []string `yaml:"bind"` // addresses; loopback and the node's by default
	Port int      `yaml:"port"`
}

// Registry says where the built-in registry listens.
type Registry struct {
	Enabled       bool     `yaml:"enabled"`
	Bind          []string `yaml:"bind"`
	Port          int      `yaml:"port"`
	Name          string   `yaml:"name"`          // by which images of it are called on every node
	AnonymousPull bool     `yaml:"anonymousPull"` // whether reading takes no credential
}

// Images says how other registries are reached.
type Images struct {
	Registries map[string]Remote `yaml:"registries"` // by host name
	Parallel   int               `yaml:"parallel"`   // downloads at once
}

// Remote is how one registry is reached.
type Remote struct {
	Mirrors  []string `yaml:"mirrors"` // tried in order before the registry itself: https://host[:port][/path]
	Username string   `yaml:"username"`
	Password string   `yaml:"password"`
	CA       string   `yaml:"ca"`       // file with certificates to trust
	Insecure bool     `yaml:"insecure"` // do not check its certificate
}

// Engine configures containers.
type Engine struct {
	CgroupDriver   string            `yaml:"cgroupDriver"`   // cgroupfs, or systemd where that is init
	Runtimes       map[string]string `yaml:"runtimes"`       // handler to OCI runtime binary; runc and crun are found by themselves
	PodAnnotations []string          `yaml:"podAnnotations"` // those handed on to OCI runtimes, such as run.oci.handler or vendor/*
	CRIU           string            `yaml:"criu"`           // the program that checkpoints containers
	RestoreImages  bool              `yaml:"restoreImages"`  // whether images may hold checkpoints: they decide over the rights of their processes
}

// Systemd tells whether systemd is to know of containers' cgroups.
func (e Engine) Systemd() bool { return e.CgroupDriver == "systemd" }

// Gateway says how apps are reached from outside.
type Gateway struct {
	Enabled   bool   `yaml:"enabled"`
	HTTPPort  int    `yaml:"httpPort"`
	HTTPSPort int    `yaml:"httpsPort"`
	AdminPort int    `yaml:"adminPort"` // of its counters, on loopback
	Domain    string `yaml:"domain"`    // apps are NAME.NAMESPACE.<domain>
	ACME      ACME   `yaml:"acme"`      // certificates for public names; without an email there are none

	TrustedProxies []string `yaml:"trustedProxies"` // networks of proxies in front, whose X-Forwarded headers are believed
	ProxyProtocol  []string `yaml:"proxyProtocol"`  // networks of balancers in front, whose PROXY header is believed
}

// ACME says which public authority vouches for names that the world knows.
type ACME struct {
	Email     string `yaml:"email"`     // of whoever the authority tells when something is wrong
	Directory string `yaml:"directory"` // its address; Let's Encrypt by default
	CA        string `yaml:"ca"`        // file with certificates to trust the directory by
}

// Catalog configures the services of processes outside the cluster.
type Catalog struct {
	Enabled bool `yaml:"enabled"`
}

// Log configures the daemon's own log.
type Log struct {
	Level string `yaml:"level"` // debug, info, warn or error
}

// Default is the configuration without a file.
func Default() File {
	return File{
		DataDir:  DataDir,
		Node:     Node{MaxPods: 500},
		Network:  Network{PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/16", Domain: "cluster.local", Pool: 64},
		API:      API{Port: 6443},
		Registry: Registry{Enabled: true, Port: 5000, Name: "registry.local", AnonymousPull: true},
		Images:   Images{Parallel: 4},
		Engine:   Engine{CgroupDriver: "cgroupfs", CRIU: "criu"},
		Gateway:  Gateway{Enabled: true, HTTPPort: 80, HTTPSPort: 443, AdminPort: 9180, Domain: "sampan.local"},
		Catalog:  Catalog{Enabled: true},
		Log:      Log{Level: "info"},
	}
}

// Load reads the file at path on top of the defaults. With an empty path it
// reads Path, and takes the defaults when there is none.
func Load(path string) (File, error) { return LoadWith(path, nil) }

// LoadWith is Load with a change on top of the file, such as a flag's.
func LoadWith(path string, change func(*File)) (File, error) {
	f := Default()
	if change == nil {
		change = func(*File) {}
	}
	named := path != ""
	if !named {
		path = Path
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && !named:
		change(&f)
		return f, f.complete()
	case err != nil:
		return f, fmt.Errorf("config: %w", err)
	}
	if err := f.read(data, change); err != nil {
		return f, fmt.Errorf("config %s: %w", path, err)
	}
	return f, nil
}

// Marshal renders f as a file.
func (f File) Marshal() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(f); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (f *File) read(data []byte, change func(*File)) error {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(f); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", explain(err), fault.Invalid)
	}
	change(f)
	return f.complete()
}

var unknown = regexp.MustCompile(`line (\d+): field (\S+) not found in type \S+`)

// explain turns the decoder's words for an unknown key into ours.
func explain(err error) string {
	var te *yaml.TypeError
	if !errors.As(err, &te) {
		return strings.TrimPrefix(err.Error(), "yaml: ")
	}
	lines := make([]string, len(te.Errors))
	for i, l := range te.Errors {
		lines[i] = unknown.ReplaceAllString(l, "line $1: unknown key \"$2\" (`sampan config show` prints every key)")
	}
	return strings.Join(lines, "; ")
}

// complete fills in what follows from other keys, and checks the rest.
func (f *File) complete() error {
	if !filepath.IsAbs(f.DataDir) {
		return invalid("dataDir", "%q is not an absolute path", f.DataDir)
	}
	// Two clouds on one machine differ in their data directory; whatever else
	// must differ follows from it.
	f.DataDir = filepath.Clean(f.DataDir)
	if f.RunDir == "" {
		f.RunDir = "/run/" + f.Instance()
	}
	if f.Network.Bridge == "" {
		f.Network.Bridge = f.Instance() + "0"
	}
	return f.check()
}

// Instance names this cloud among those on the machine: its links, cgroups,
// tables and units are called after it.
func (f File) Instance() string {
	if f.DataDir == DataDir {
		return "sampan"
	}
	sum := sha256.Sum256([]byte(f.DataDir))
	return "sampan-" + hex.EncodeToString(sum[:3])
}

func (f *File) check() error {
	if !filepath.IsAbs(f.RunDir) {
		return invalid("runDir", "%q is not an absolute path", f.RunDir)
	}
	if len(f.Network.Bridge) > 15 {
		return invalid("network.bridge", "%q is longer than the 15 characters of a link's name", f.Network.Bridge)
	}
	pods, err := prefix("network.podCIDR", f.Network.PodCIDR)
	if err != nil {
		return err
	}
	services, err := prefix("network.serviceCIDR", f.Network.ServiceCIDR)
	if err != nil {
		return err
	}
	if pods.Overlaps(services) {
		return invalid("network.podCIDR", "%s overlaps network.serviceCIDR %s", pods, services)
	}
	if a := f.Node.Address; a != "" {
		if _, err := netip.ParseAddr(a); err != nil {
			return invalid("node.address", "%q is not an IP address", a)
		}
	}
	for key, port := range map[string]int{"api.port": f.API.Port, "registry.port": f.Registry.Port, "gateway.httpPort": f.Gateway.HTTPPort, "gateway.httpsPort": f.Gateway.HTTPSPort, "gateway.adminPort": f.Gateway.AdminPort} {
		if port < 1 || port > 65535 {
			return invalid(key, "%d is not a port", port)
		}
	}
	if err := f.Gateway.ACME.check(); err != nil {
		return err
	}
	for key, networks := range map[string][]string{"gateway.trustedProxies": f.Gateway.TrustedProxies, "gateway.proxyProtocol": f.Gateway.ProxyProtocol} {
		for _, n := range networks {
			_, badNetwork := netip.ParsePrefix(n)
			if _, badAddress := netip.ParseAddr(n); badNetwork != nil && badAddress != nil {
				return invalid(key, "%q is neither a network such as 10.0.0.0/8 nor an address", n)
			}
		}
	}
	if d := f.Engine.CgroupDriver; d != "cgroupfs" && d != "systemd" {
		return invalid("engine.cgroupDriver", "%q is neither cgroupfs nor systemd", d)
	}
	return nil
}

func (a ACME) check() error {
	switch at := strings.IndexByte(a.Email, '@'); {
	case a == (ACME{}):
		return nil
	case a.Email == "":
		return invalid("gateway.acme.email", "is missing: the authority wants to know whom to tell when something is wrong")
	case at <= 0 || at == len(a.Email)-1 || strings.ContainsAny(a.Email, " \t\n<>,"):
		return invalid("gateway.acme.email", "%q is not an address such as ops@example.com", a.Email)
	case a.CA != "" && !filepath.IsAbs(a.CA):
		return invalid("gateway.acme.ca", "%q is not an absolute path", a.CA)
	}
	if u, err := url.Parse(a.Directory); a.Directory != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		return invalid("gateway.acme.directory", "%q is not an https address", a.Directory)
	}
	return nil
}

func prefix(key, s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Masked() != p {
		return p, invalid(key, "%q is not a network such as 10.244.0.0/16", s)
	}
	return p, nil
}

func invalid(key, format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", key, fmt.Sprintf(format, args...), fault.Invalid)
}
