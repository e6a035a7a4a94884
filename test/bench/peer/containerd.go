package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Containerd is containerd 2, built from its module, with runc from Debian and
// the CNI plugins bridge and host-local, set up as Kubernetes wants it.
type Containerd struct {
	*CRI
	Program string
	Socket  string
	room    *Room
	undo    closers
}

// containerdConfig leaves all as it is but places, and what takes a capability
// that the machine may lack. The pods' pause process is the image's own program.
const containerdConfig = `version = 3
root = %[1]q
state = %[2]q
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = %[3]q
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = %[4]q
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [%[5]q]
    conf_dir = %[6]q
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = %[7]q
`

const cniConfig = `{"cniVersion": "1.0.0", "name": "bench", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": %q}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`

// NewContainerd builds containerd, runs it in room number n and imports the image.
func NewContainerd(ctx context.Context, source, dir string, n int, im Image) (_ *Containerd, err error) {
	c := &Containerd{}
	defer func() {
		if err != nil {
			c.undo.close()
		}
	}()
	runc, err := program("runc")
	if err != nil {
		return nil, err
	}
	if err := buildPeers(ctx, source); err != nil {
		return nil, err
	}
	room, err := NewRoom(dir, "containerd", n)
	if err != nil {
		return nil, err
	}
	c.room = room
	bin := peersDir(source)
	c.undo.add(room.Close)
	c.undo.add(cgroups("k8s.io"))
	c.Program, c.Socket = filepath.Join(bin, "containerd"), filepath.Join(room.Run, "c.sock")
	config, cni := filepath.Join(room.Dir, "config.toml"), filepath.Join(room.Dir, "cni")
	for path, text := range map[string]string{
		config:                               fmt.Sprintf(containerdConfig, filepath.Join(room.Dir, "root"), filepath.Join(room.Run, "state"), c.Socket, Ref, bin, cni, runc),
		filepath.Join(cni, "bench.conflist"): fmt.Sprintf(cniConfig, filepath.Join(room.Dir, "ipam")),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	up := func(ctx context.Context) error {
		c.CRI, err = DialCRI(ctx, c.Socket, filepath.Join(room.Dir, "logs"))
		return err
	}
	process, err := room.daemon(ctx, []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, up, c.Program, "--config", config, "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	c.undo.add(func() error { process.stop(); return nil })
	c.undo.add(func() error { return c.CRI.Close() })
	c.undo.add(func() error { return c.removePods(context.Background()) })
	_, err = room.Exec(ctx, nil, filepath.Join(bin, "ctr"), "--address", c.Socket, "--namespace", "k8s.io", "image", "import", im.Archive)
	return c, err
}

func peersDir(source string) string { return filepath.Join(source, "bin", "bench", "peers") }

// buildPeers compiles what test/bench/peers/go.mod lists as its tools.
func buildPeers(ctx context.Context, source string) error {
	bin := peersDir(source)
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin+"/", "tool")
	cmd.Dir, cmd.Env = filepath.Join(source, "test", "bench", "peers"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build containerd: %w: %s", err, tail(string(out)))
	}
	return nil
}

// Close stops it and deletes its data.
func (c *Containerd) Close() error {
	if err := c.undo.close(); err != nil {
		return fmt.Errorf("containerd: %w", err)
	}
	return nil
}
