package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sampan-cloud/sampan/api/client"
)

// Upstream is Kubernetes on containerd: the code and the settings that Sampan's
// own Kubernetes has, so that the engine is all that differs.
type Upstream struct {
	containerd *Containerd
	process    *daemon
	dir        string
}

// BuildUpstream compiles what NewUpstream runs; it takes a while.
func BuildUpstream(ctx context.Context, source string) error {
	if err := buildPeers(ctx, source); err != nil {
		return err
	}
	return Build(ctx, source, upstreamProgram(source), "./test/bench/cluster")
}

func upstreamProgram(source string) string { return filepath.Join(source, "bin", "bench", "cluster") }

// NewUpstream starts both in room number n and imports the image.
func NewUpstream(ctx context.Context, source, dir string, n int, im Image) (*Upstream, error) {
	c, err := NewContainerd(ctx, source, dir, n, im)
	if err != nil {
		return nil, err
	}
	u := &Upstream{containerd: c, dir: filepath.Join(c.room.Dir, "kube")}
	up := func(context.Context) error {
		_, err := os.Stat(filepath.Join(u.dir, "ready"))
		return err
	}
	u.process, err = c.room.daemon(ctx, nil, up, upstreamProgram(source), "-dir", u.dir, "-run", filepath.Join(c.room.Run, "kube"),
		"-name", c.room.Name, "-address", c.room.Addr, "-cri", c.Socket)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return u, nil
}

// Kube returns the cluster's API.
func (u *Upstream) Kube() (*client.Kube, error) {
	k, err := client.OpenKube(filepath.Join(u.dir, "admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	k.Server = "https://" + u.containerd.room.Addr + ":6443"
	return k, nil
}

// Containerd is the program's path.
func (u *Upstream) Containerd() string { return u.containerd.Program }

// Close stops both and deletes their data.
func (u *Upstream) Close() error {
	u.process.stop()
	if err := u.containerd.Close(); err != nil {
		return fmt.Errorf("Kubernetes on %w", err)
	}
	return nil
}
