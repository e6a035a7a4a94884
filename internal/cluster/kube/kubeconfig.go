package kube

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	api "k8s.io/client-go/tools/clientcmd/api"
)

// contextName is what the administrator's cluster, user and context are called
// in a kubeconfig.
func (c Config) contextName() string { return "sampan-" + c.NodeName }

// writeKubeconfigs writes one file per identity. Components get the paths of
// their certificate, which client-go rereads after a renewal; the
// administrator's holds everything itself, because it is copied elsewhere.
func (c *certificates) writeKubeconfigs() error {
	for _, id := range []string{idSystem, idControllers, idScheduler, idProxy, idKubelet} {
		files := c.cfg.pair(id)
		user := &api.AuthInfo{ClientCertificate: files.cert, ClientKey: files.key}
		cluster := &api.Cluster{Server: c.cfg.server(), CertificateAuthority: c.cluster.files.cert}
		if err := writeKubeconfig(c.cfg.kubeconfig(id), id, cluster, user); err != nil {
			return err
		}
	}
	user, cluster, err := c.admin()
	if err != nil {
		return err
	}
	return writeKubeconfig(c.cfg.adminKubeconfig(), c.cfg.contextName(), cluster, user)
}

func (c *certificates) admin() (*api.AuthInfo, *api.Cluster, error) {
	files := c.cfg.pair(idAdmin)
	var data [3][]byte
	for i, path := range []string{files.cert, files.key, c.cluster.files.cert} {
		var err error
		if data[i], err = os.ReadFile(path); err != nil {
			return nil, nil, err
		}
	}
	return &api.AuthInfo{ClientCertificateData: data[0], ClientKeyData: data[1]},
		&api.Cluster{Server: c.cfg.server(), CertificateAuthorityData: data[2]}, nil
}

func writeKubeconfig(path, name string, cluster *api.Cluster, user *api.AuthInfo) error {
	k := api.NewConfig()
	addContext(k, name, cluster, user)
	return saveKubeconfig(path, k)
}

func addContext(k *api.Config, name string, cluster *api.Cluster, user *api.AuthInfo) {
	k.Clusters[name], k.AuthInfos[name] = cluster, user
	k.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	k.CurrentContext = name
}

func saveKubeconfig(path string, k *api.Config) error {
	b, err := clientcmd.Write(*k)
	if err != nil {
		return err
	}
	return writeFile(path, b)
}

// MergeKubeconfig adds the administrator's entry to the kubeconfig at path,
// makes it the current one and keeps everything else in that file.
func (c *Cluster) MergeKubeconfig(path string) error {
	k := api.NewConfig()
	if _, err := os.Stat(path); err == nil {
		if k, err = clientcmd.LoadFromFile(path); err != nil {
			return fmt.Errorf("kubeconfig %s: %w", path, err)
		}
	}
	user, cluster, err := c.certs.admin()
	if err != nil {
		return err
	}
	addContext(k, c.cfg.contextName(), cluster, user)
	// The user may have made it a link to somewhere else.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return saveKubeconfig(path, k)
}

// UnmergeKubeconfig takes the administrator's entry out of the kubeconfig at
// path. A file that is not there is no error.
func (c *Cluster) UnmergeKubeconfig(path string) error {
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return nil
	}
	k, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	name := c.cfg.contextName()
	delete(k.Clusters, name)
	delete(k.AuthInfos, name)
	delete(k.Contexts, name)
	if k.CurrentContext == name {
		k.CurrentContext = ""
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return saveKubeconfig(path, k)
}
