package kube

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

// The names of the certificates and of those who show them. Each component has
// an identity of its own, so that RBAC and the audit log can tell them apart.
const (
	certAPIServer     = "apiserver"
	certKubeletServer = "kubelet-server"
	certFrontProxy    = "front-proxy-client"
	certKubeletClient = "apiserver-kubelet-client"

	idAdmin       = "admin"
	idSystem      = "sampan"
	idControllers = "kube-controller-manager"
	idScheduler   = "kube-scheduler"
	idProxy       = "kube-proxy"
	idKubelet     = "kubelet"
)

// certificates keeps the cluster's keys: two authorities, one certificate per
// component, and the key that signs service account tokens.
type certificates struct {
	cfg     Config
	cluster *authority // clients and servers of this cluster
	front   *authority // the API server, when it speaks for a user to another API server
}

// newCertificates makes what is missing and renews what is due.
func newCertificates(cfg Config, now func() time.Time) (*certificates, error) {
	cluster, err := openAuthority(cfg.pair("ca"), "sampan-cluster", now)
	if err != nil {
		return nil, err
	}
	front, err := openAuthority(cfg.pair("front-proxy-ca"), "sampan-front-proxy", now)
	if err != nil {
		return nil, err
	}
	c := &certificates{cfg: cfg, cluster: cluster, front: front}
	if err := c.ensureTokenKey(); err != nil {
		return nil, err
	}
	if _, err := c.ensure(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c Config) pair(name string) pair {
	return pair{cert: filepath.Join(c.pki(), name+".crt"), key: filepath.Join(c.pki(), name+".key")}
}

// tokenKey is the pair that signs and checks service account tokens.
func (c Config) tokenKey() pair {
	return pair{cert: filepath.Join(c.pki(), "service-accounts.pub"), key: filepath.Join(c.pki(), "service-accounts.key")}
}

// ensure brings every certificate and kubeconfig up to date and returns the
// names of the certificates that changed.
func (c *certificates) ensure() (renewed []string, err error) {
	var errs []error
	sign := func(a *authority, file string, l leaf) {
		l.files = c.cfg.pair(file)
		changed, err := a.ensure(l)
		if err != nil {
			errs = append(errs, err)
		}
		if changed {
			renewed = append(renewed, file)
		}
	}
	sign(c.cluster, certAPIServer, c.apiServerLeaf())
	sign(c.cluster, certKubeletServer, leaf{
		name: "system:node:" + c.cfg.NodeName, groups: []string{"system:nodes"},
		dns: []string{c.cfg.NodeName}, ips: []netip.Addr{c.cfg.NodeIP}, server: true,
	})
	for _, s := range c.cfg.Servers {
		sign(c.cluster, s.Name, serverLeaf(s))
	}
	sign(c.front, certFrontProxy, leaf{name: "front-proxy-client"})
	sign(c.cluster, certKubeletClient, leaf{name: "kube-apiserver-kubelet-client"})
	for id, l := range map[string]leaf{
		idAdmin:       {name: "admin", groups: []string{"system:masters"}},
		idSystem:      {name: SystemUser, groups: []string{"system:masters"}},
		idControllers: {name: "system:kube-controller-manager"},
		idScheduler:   {name: "system:kube-scheduler"},
		idProxy:       {name: "system:kube-proxy"},
		idKubelet:     {name: "system:node:" + c.cfg.NodeName, groups: []string{"system:nodes"}},
	} {
		sign(c.cluster, id, l)
	}
	if err := errors.Join(errs...); err != nil {
		return renewed, err
	}
	return renewed, c.writeKubeconfigs()
}

// SystemUser is as whom the cluster's own parts call its API, by the kubeconfig
// of SystemKubeconfig.
const SystemUser = "sampan"

func (c *certificates) apiServerLeaf() leaf {
	l := leaf{
		name: "kube-apiserver", server: true,
		dns: []string{"localhost", c.cfg.NodeName, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + c.cfg.ClusterDomain},
		ips: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), c.cfg.NodeIP, nth(c.cfg.ServiceCIDR, 1)},
	}
	for _, a := range c.cfg.BindAddresses {
		if !a.IsUnspecified() && !slices.Contains(l.ips, a) {
			l.ips = append(l.ips, a)
		}
	}
	for _, san := range c.cfg.SANs {
		if ip, err := netip.ParseAddr(san); err != nil {
			l.dns = append(l.dns, san)
		} else if !slices.Contains(l.ips, ip) {
			l.ips = append(l.ips, ip)
		}
	}
	return l
}

// serverLeaf is the certificate of one of the node's other servers.
func serverLeaf(s Server) leaf {
	l := leaf{name: s.Name, server: true}
	for _, h := range s.Hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			l.ips = append(l.ips, ip)
		} else {
			l.dns = append(l.dns, h)
		}
	}
	return l
}

// ensureTokenKey makes the key that signs service account tokens, once: a new
// one would end every token in use.
func (c *certificates) ensureTokenKey() error {
	files := c.cfg.tokenKey()
	key, err := readPEM(files.key, x509.ParseECPrivateKey)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
		b, err1 := pemKey(key)
		if err1 != nil {
			return err1
		}
		err = writeFile(files.key, b)
	}
	if err != nil {
		return fmt.Errorf("service account key: %w", err)
	}
	b, err := pemPublicKey(key.Public())
	if err != nil {
		return err
	}
	return writeFile(files.cert, b)
}

// renewal looks at the certificates every day. Upstream rereads the files of
// its servers and of its clients, so nothing has to be restarted.
type renewal struct {
	certs *certificates
	log   *slog.Logger
}

func (r *renewal) Run(ctx context.Context, ready func()) error {
	ready()
	day := time.NewTicker(24 * time.Hour)
	defer day.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-day.C:
		}
		renewed, err := r.certs.ensure()
		if err != nil {
			r.log.Error("certificates not renewed, trying again tomorrow", "err", err)
		}
		if len(renewed) > 0 {
			r.log.Info("certificates renewed", "certificates", renewed)
		}
	}
}
