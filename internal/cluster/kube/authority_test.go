package kube

import (
	"bytes"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

func pkiConfig(t *testing.T) Config {
	t.Helper()
	cfg, err := Config{
		Dir: t.TempDir(), RunDir: t.TempDir(), NodeName: "n1", CRISocket: "/run/cri.sock",
		NodeIP: netip.MustParseAddr("192.0.2.7"), SANs: []string{"cloud.example", "198.51.100.1"},
	}.complete()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestCertificatesChange(t *testing.T) {
	allCertificates := []string{"admin", "apiserver", "apiserver-kubelet-client", "front-proxy-client", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet", "kubelet-server", "sampan"}
	for name, tt := range map[string]struct {
		later time.Duration
		edit  func(*Config)
		want  []string
	}{
		"none while they are good":              {want: nil},
		"none half a year later":                {later: 180 * 24 * time.Hour, want: nil},
		"all of them two months before the end": {later: 310 * 24 * time.Hour, want: allCertificates},
		"all of them when the clock was wrong":  {later: -24 * time.Hour, want: allCertificates},
		"the servers' when the address changes": {edit: func(c *Config) { c.NodeIP = netip.MustParseAddr("192.0.2.8") }, want: []string{"apiserver", "kubelet-server"}},
		"the server's when a name is added":     {edit: func(c *Config) { c.SANs = append(c.SANs, "other.example") }, want: []string{"apiserver"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := pkiConfig(t)
			if _, err := newCertificates(cfg, time.Now); err != nil {
				t.Fatal(err)
			}
			ca, err := os.ReadFile(cfg.pair("ca").cert)
			if err != nil {
				t.Fatal(err)
			}
			if tt.edit != nil {
				tt.edit(&cfg)
			}
			now := func() time.Time { return time.Now().Add(tt.later) }
			c := &certificates{cfg: cfg}
			if c.cluster, err = openAuthority(cfg.pair("ca"), "x", now); err != nil {
				t.Fatal(err)
			}
			if c.front, err = openAuthority(cfg.pair("front-proxy-ca"), "x", now); err != nil {
				t.Fatal(err)
			}
			got, err := c.ensure()
			slices.Sort(got)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("renewed %v, %v; want %v", got, err, tt.want)
			}
			if again, _ := os.ReadFile(cfg.pair("ca").cert); !bytes.Equal(ca, again) {
				t.Error("the authority changed: every client would be locked out")
			}
		})
	}
}

func TestKeysAreTheOwnersOnly(t *testing.T) {
	cfg := pkiConfig(t)
	if _, err := newCertificates(cfg, time.Now); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err := filepath.WalkDir(cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == cfg.Dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		seen++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || seen < 20 {
		t.Errorf("saw %d files, %v", seen, err)
	}
}

func TestMissingAuthorityKeyIsNotReplaced(t *testing.T) {
	cfg := pkiConfig(t)
	if _, err := newCertificates(cfg, time.Now); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cfg.pair("ca").key); err != nil {
		t.Fatal(err)
	}
	_, err := newCertificates(cfg, time.Now)
	if err == nil || !strings.Contains(err.Error(), cfg.pair("ca").key) {
		t.Errorf("newCertificates = %v; want an error that names the key", err)
	}
}

func TestMergeKubeconfig(t *testing.T) {
	cfg := pkiConfig(t)
	certs, err := newCertificates(cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{cfg: cfg, certs: certs}
	path := filepath.Join(t.TempDir(), "sub", "config")
	if err := c.MergeKubeconfig(path); err != nil {
		t.Fatalf("into no file: %v", err)
	}
	k, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	k.Contexts["work"] = k.Contexts["sampan-n1"].DeepCopy()
	k.CurrentContext = "work"
	if err := clientcmd.WriteToFile(*k, path); err != nil {
		t.Fatal(err)
	}
	if err := c.MergeKubeconfig(path); err != nil {
		t.Fatal(err)
	}
	if k, err = clientcmd.LoadFromFile(path); err != nil || k.CurrentContext != "sampan-n1" || k.Contexts["work"] == nil {
		t.Errorf("after a merge: current %q, contexts %v, %v; want sampan-n1, with work kept", k.CurrentContext, k.Contexts, err)
	}
	if err := c.UnmergeKubeconfig(path); err != nil {
		t.Fatal(err)
	}
	if k, err = clientcmd.LoadFromFile(path); err != nil || k.Contexts["sampan-n1"] != nil || k.Contexts["work"] == nil || k.CurrentContext != "" {
		t.Errorf("after taking it out: current %q, contexts %v, %v; want only work", k.CurrentContext, k.Contexts, err)
	}
}
