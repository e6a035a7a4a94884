package kube

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/base/run"
)

// Config holds the settings of a Cluster. Dir, NodeName, NodeIP and CRISocket
// are required; everything else has a default.
type Config struct {
	Dir      string     // state: etcd, keys, certificates, the kubelet's directory
	RunDir   string     // sockets; a short path, for a socket's is at most 107 bytes. Default Dir/run
	NodeName string     // the Node object's name
	NodeIP   netip.Addr // the address other nodes and pods reach this one by

	BindAddresses []netip.Addr // where the API server listens; default loopback and NodeIP
	Port          int          // of the API server; default 6443
	KubeletPort   int          // default 10250, on NodeIP
	SANs          []string     // further names and addresses for the API server's certificate

	ServiceCIDR   netip.Prefix // default 10.96.0.0/16
	PodCIDR       netip.Prefix // default 10.244.0.0/16
	ClusterDomain string       // default cluster.local
	ClusterDNS    netip.Addr   // default the tenth address of ServiceCIDR
	NodePorts     string       // default 30000-32767

	CRISocket  string // path of the engine's CRI socket
	MaxPods    int    // default 500
	KubeletDir string // default Dir/kubelet
	PodLogsDir string // default Dir/pod-logs
	VolumesDir string // where node-local volumes live; default Dir/volumes
	CgroupRoot string // parent of every pod's cgroup; default /sampan-NODENAME
	// SystemdCgroups has the kubelet make cgroups through systemd. CgroupRoot then
	// stands for a slice, which must be there.
	SystemdCgroups bool
	ResolvConf     string // what pods with dnsPolicy Default get; default the host's real one
	NodeLabels     map[string]string
	StatsByCRI     bool // pod statistics come from the engine, without cAdvisor

	Addons   [][]byte        // YAML documents, applied at every start
	Features map[string]bool // feature gates, for all components

	// AddonsAfter, when set, is closed once the add-ons may be applied: when the
	// images that they name are there.
	AddonsAfter <-chan struct{}

	// APIs are further API groups, by what their paths begin with (/apis/GROUP/).
	// Requests reach a handler once the API server knows who asks and that they
	// may, by roles for the group, and has written them into its audit log.
	APIs map[string]http.Handler

	// Described are those of the APIs that clients find in the cluster's list of
	// groups. Each needs an APIService object that names no Service.
	Described []metav1.APIResourceList

	// Admission are further steps that every write takes before it is kept, by
	// name. They have the last word, after those of Kubernetes.
	Admission map[string]admission.Interface

	Servers []Server        // further TLS servers of this node
	Notify  func(run.Event) // told as components start and stop; may be nil
}

// Server is a TLS server of this node besides Kubernetes' own, such as the
// registry. Its certificate is signed by the cluster's authority, kept as
// Name.crt and Name.key, and renewed with the others.
type Server struct {
	Name  string
	Hosts []string // DNS names and addresses by which it is called
}

// complete fills the defaults in and checks what was given.
func (c Config) complete() (Config, error) {
	for name, value := range map[string]string{"Dir": c.Dir, "NodeName": c.NodeName, "CRISocket": c.CRISocket} {
		if value == "" {
			return c, fmt.Errorf("%s is not set: %w", name, fault.Invalid)
		}
	}
	if !c.NodeIP.IsValid() || c.NodeIP.IsUnspecified() || c.NodeIP.IsLoopback() {
		return c, fmt.Errorf("node address %s: pods could not reach the API server there: %w", c.NodeIP, fault.Invalid)
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	setDefault(&c.RunDir, filepath.Join(c.Dir, "run"))
	setDefault(&c.Port, 6443)
	setDefault(&c.KubeletPort, 10250)
	setDefault(&c.ServiceCIDR, netip.MustParsePrefix("10.96.0.0/16"))
	setDefault(&c.PodCIDR, netip.MustParsePrefix("10.244.0.0/16"))
	setDefault(&c.ClusterDomain, "cluster.local")
	setDefault(&c.NodePorts, "30000-32767")
	c.ClusterDNS = c.DNS()
	setDefault(&c.MaxPods, 500)
	setDefault(&c.KubeletDir, filepath.Join(c.Dir, "kubelet"))
	setDefault(&c.PodLogsDir, filepath.Join(c.Dir, "pod-logs"))
	setDefault(&c.VolumesDir, filepath.Join(c.Dir, "volumes"))
	setDefault(&c.CgroupRoot, "/sampan-"+c.NodeName)
	setDefault(&c.ResolvConf, hostResolvConf())
	if len(c.BindAddresses) == 0 {
		c.BindAddresses = []netip.Addr{loopback, c.NodeIP}
	}
	if i := slices.IndexFunc(c.BindAddresses, netip.Addr.IsUnspecified); i >= 0 {
		c.BindAddresses = c.BindAddresses[i : i+1] // every address, so the others are taken
	}
	if !c.listensOn(loopback) {
		// The components in this process call the API server there.
		c.BindAddresses = append([]netip.Addr{loopback}, c.BindAddresses...)
	}
	if c.ServiceCIDR.Overlaps(c.PodCIDR) {
		return c, fmt.Errorf("service range %s overlaps pod range %s: %w", c.ServiceCIDR, c.PodCIDR, fault.Invalid)
	}
	if !c.ServiceCIDR.Contains(c.ClusterDNS) {
		return c, fmt.Errorf("DNS address %s is outside the service range %s: %w", c.ClusterDNS, c.ServiceCIDR, fault.Invalid)
	}
	if longest := c.socket("etcd-peer"); len(longest) > 107 {
		return c, fmt.Errorf("socket %s: path longer than 107 bytes, choose a shorter RunDir: %w", longest, fault.Invalid)
	}
	return c, nil
}

// DNS is the address of the cluster's DNS.
func (c Config) DNS() netip.Addr {
	if c.ClusterDNS.IsValid() {
		return c.ClusterDNS
	}
	return nth(c.ServiceCIDR, 10)
}

// listensOn reports whether the API server can be reached at a.
func (c Config) listensOn(a netip.Addr) bool {
	return slices.ContainsFunc(c.BindAddresses, func(b netip.Addr) bool {
		return b == a || b.IsUnspecified()
	})
}

func (c Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.Dir}, elem...)...)
}
func (c Config) pki() string               { return c.path("pki") }
func (c Config) socket(name string) string { return filepath.Join(c.RunDir, name+".sock") }
func (c Config) adminKubeconfig() string   { return c.path("admin.kubeconfig") }

// kubeconfig returns the path of a component's own kubeconfig.
func (c Config) kubeconfig(component string) string { return c.path("kubeconfig", component) }

// server returns the URL at which this process calls its own API server.
func (c Config) server() string {
	return "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port))
}

// issuer names the cluster in the tokens of service accounts.
func (c Config) issuer() string { return "https://kubernetes.default.svc." + c.ClusterDomain }

// nodeMask returns how many bits of an address name the node: each gets a range
// with twice as many addresses as it may have pods, so that one is not given
// out again right after its pod has gone.
func (c Config) nodeMask() int {
	return max(c.PodCIDR.Bits(), c.PodCIDR.Addr().BitLen()-bits.Len(uint(2*c.MaxPods-1)))
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// nth returns the nth address of an IPv4 range.
func nth(p netip.Prefix, n uint32) netip.Addr {
	if !p.Addr().Is4() {
		a := p.Masked().Addr().As16()
		binary.BigEndian.PutUint32(a[12:], binary.BigEndian.Uint32(a[12:])+n)
		return netip.AddrFrom16(a)
	}
	a := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+n)
	return netip.AddrFrom4(a)
}

// hostResolvConf returns the file that names the host's real DNS servers.
// systemd-resolved puts its own loopback address into the usual one, where no
// pod can reach it.
func hostResolvConf() string {
	const usual, resolved = "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"
	if b, err := os.ReadFile(usual); err == nil && strings.Contains(string(b), "127.0.0.53") {
		if _, err := os.Stat(resolved); err == nil {
			return resolved
		}
	}
	return usual
}
