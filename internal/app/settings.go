package app

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/sampan-cloud/sampan/api/config"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/cluster/kube"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/image"
	"github.com/sampan-cloud/sampan/internal/node/network"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/internal/platform/catalog"
	"github.com/sampan-cloud/sampan/internal/platform/gateway"
	"github.com/sampan-cloud/sampan/internal/platform/rollout"
)

// settings turns the configuration file into each part's own Config. Where the
// file leaves something to the machine, the machine has been asked.
type settings struct {
	config.File
	name     string     // of the node
	addr     netip.Addr // of the node
	pods     netip.Prefix
	services netip.Prefix
	programs string // directory of the other programs
}

func newSettings(f config.File, programs string) (settings, error) {
	s := settings{
		File: f, name: f.Node.Name, programs: programs,
		pods: netip.MustParsePrefix(f.Network.PodCIDR), services: netip.MustParsePrefix(f.Network.ServiceCIDR), // checked when read
	}
	var err error
	if s.name == "" {
		if s.name, err = nodeName(); err != nil {
			return s, fmt.Errorf("node: %w", err)
		}
	}
	if f.Node.Address != "" {
		s.addr = netip.MustParseAddr(f.Node.Address)
	} else if s.addr, err = nodeAddress(); err != nil {
		return s, fmt.Errorf("node: %w", err)
	}
	return s, nil
}

// checkRuntimes refuses an OCI runtime that is not there, before a pod asks for it.
func (s settings) checkRuntimes() error {
	for handler, program := range s.Engine.Runtimes {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("engine.runtimes.%s: %s is no program (install it, or take the key away): %w", handler, program, fault.Invalid)
		}
	}
	return nil
}

func (s settings) data(elem ...string) string {
	return filepath.Join(append([]string{s.DataDir}, elem...)...)
}

func (s settings) run(elem ...string) string {
	return filepath.Join(append([]string{s.RunDir}, elem...)...)
}

// hosts are the names that the registry has on this node.
func (s settings) registryHosts() []string {
	port := strconv.Itoa(s.Registry.Port)
	hosts := []string{s.Registry.Name}
	for _, h := range []string{s.Registry.Name, "localhost", "127.0.0.1", s.addr.String()} {
		hosts = append(hosts, net.JoinHostPort(h, port))
	}
	return hosts
}

// images reaches every configured registry as the file says, and the built-in
// one over loopback, whichever of its names an image begins with.
func (s settings) images(own *image.Auth, ca string) image.Config {
	c := image.Config{Root: s.data("images"), Parallel: s.Images.Parallel, Registries: map[string]image.Registry{}}
	for host, r := range s.Images.Registries {
		reg := image.Registry{Mirrors: r.Mirrors, Insecure: r.Insecure}
		if r.Username != "" {
			reg.Auth = &image.Auth{Username: r.Username, Password: r.Password}
		}
		if r.CA != "" {
			reg.CAFiles = []string{r.CA}
		}
		c.Registries[host] = reg
	}
	if !s.Registry.Enabled {
		return c
	}
	loopback := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Registry.Port))
	for _, host := range s.registryHosts() {
		c.Registries[host] = image.Registry{Address: loopback, CAFiles: []string{ca}, Auth: own}
	}
	return c
}

func (s settings) snapshots() snapshot.Config { return snapshot.Config{Root: s.data("snapshots")} }

func (s settings) network() network.Config {
	return network.Config{
		Dir: s.data("network"), NSDir: s.run("netns"), Bridge: s.Network.Bridge, Table: s.Instance(),
		Prefix: s.podRange(), MTU: s.Network.MTU, Pool: s.Network.Pool, Services: s.services,
		NoMasquerade: []netip.Prefix{s.pods},
		Reserved:     s.reservedPorts(),
	}
}

// reservedPorts are those of the node's own servers.
func (s settings) reservedPorts() []uint16 {
	ports := []uint16{uint16(s.API.Port)}
	if s.Registry.Enabled {
		ports = append(ports, uint16(s.Registry.Port))
	}
	if s.Gateway.Enabled {
		ports = append(ports, uint16(s.Gateway.HTTPPort), uint16(s.Gateway.HTTPSPort))
	}
	return ports
}

// podRange is this node's part of the pods' addresses: all of it while there is
// one node.
func (s settings) podRange() netip.Prefix { return s.pods }

func (s settings) containers(groups *cgroup.Manager) container.Config {
	return container.Config{
		Dir: s.run("keeper"), Keeper: s.keeper(), Cgroups: groups, Runtimes: s.Engine.Runtimes,
		CRIU: s.Engine.CRIU, KeeperCgroup: s.cgroupRoot() + "/keeper",
	}
}

func (s settings) keeper() string { return filepath.Join(s.programs, "sampan-keeper") }

func (s settings) cgroups() cgroup.Config {
	return cgroup.Config{}
}

func (s settings) engine() engine.Config {
	return engine.Config{
		Dir: s.data("engine"), RunDir: s.run("engine"), CgroupParent: s.cgroupRoot() + "/local",
		Pause: []string{s.keeper(), "pause"}, Annotations: s.Engine.PodAnnotations, RestoreImages: s.Engine.RestoreImages,
	}
}

func (s settings) gateway(image string) (gateway.Deployment, error) {
	d := gateway.Deployment{Image: image, DataDir: s.data("gateway"), Gateway: gateway.Config{
		HTTPPort: s.Gateway.HTTPPort, HTTPSPort: s.Gateway.HTTPSPort, Domain: s.Gateway.Domain, Admin: s.gatewayAdmin(),
		TrustedProxies: s.Gateway.TrustedProxies, ProxyProtocol: s.Gateway.ProxyProtocol,
	}}
	a := s.Gateway.ACME
	if a.Email == "" {
		return d, nil
	}
	d.Gateway.ACME = &gateway.ACME{Directory: a.Directory, Email: a.Email}
	if a.CA != "" {
		roots, err := os.ReadFile(a.CA)
		if err != nil {
			return d, fmt.Errorf("gateway.acme.ca: %w", err)
		}
		d.ACMERoots = roots
	}
	return d, nil
}

// gatewayAdmin is where the gateway of this node tells what it has counted.
func (s settings) gatewayAdmin() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Gateway.AdminPort))
}

func (s settings) rollout(kubeconfig string) rollout.Config {
	return rollout.Config{
		Kubeconfig: kubeconfig, Domain: s.Gateway.Domain,
		Counters: []string{"http://" + s.gatewayAdmin() + "/v1/backends"},
	}
}

func (s settings) catalog(kubeconfig string) catalog.Config {
	return catalog.Config{Kubeconfig: kubeconfig, PodCIDR: s.pods, ServiceCIDR: s.services}
}

func (s settings) criSocket() string { return s.run("cri.sock") }

func (s settings) kube() kube.Config {
	c := kube.Config{
		Dir: s.data("kube"), RunDir: s.run("kube"), NodeName: s.name, NodeIP: s.addr, Port: s.API.Port,
		ServiceCIDR: s.services, PodCIDR: s.pods, ClusterDomain: s.Network.Domain,
		CRISocket: s.criSocket(), MaxPods: s.Node.MaxPods, CgroupRoot: s.cgroupRoot(), SystemdCgroups: s.Engine.Systemd(),
	}
	if s.Registry.Enabled {
		c.Servers = []kube.Server{{Name: "registry", Hosts: []string{s.Registry.Name, "localhost", "127.0.0.1", s.addr.String()}}}
	}
	for _, b := range s.API.Bind {
		if a, err := netip.ParseAddr(b); err == nil {
			c.BindAddresses = append(c.BindAddresses, a)
		}
	}
	return c
}
