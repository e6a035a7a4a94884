package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/test/bench/measure"
)

// Cloud is Sampan as users have it: bin/sampan and what `sampan up` starts.
type Cloud struct {
	*Node
	Program string
	room    *Room
	config  string
	data    string
}

// NewCloud prepares room number n. Up starts it.
func NewCloud(source, dir string, n int) (*Cloud, error) {
	c := &Cloud{Program: filepath.Join(source, "bin", "sampan")}
	if !executable(c.Program) {
		return nil, fmt.Errorf("%s is not built: `make build`", c.Program)
	}
	var err error
	if c.room, err = NewRoom(dir, "cloud", n); err != nil {
		return nil, err
	}
	c.Node = &Node{client.OpenNode(c.room.Run)}
	c.config, c.data = filepath.Join(c.room.Dir, "config.yaml"), filepath.Join(c.room.Dir, "data")
	text := fmt.Sprintf("dataDir: %s\nrunDir: %s\nnode: {name: %s}\n", c.data, c.room.Run, c.room.Name)
	if err := os.WriteFile(c.config, []byte(text), 0o600); err != nil {
		return nil, errors.Join(err, c.room.Close())
	}
	return c, nil
}

func (c *Cloud) run(ctx context.Context, args ...string) error {
	_, err := c.room.Exec(ctx, []string{"SAMPAN_CONFIG=" + c.config, "SAMPAN_LANG=en", "HOME=" + c.room.Dir}, c.Program, args...)
	return err
}

// Up is `sampan up`, which returns when the node is Ready.
func (c *Cloud) Up(ctx context.Context) error { return c.run(ctx, "up") }

// Down is `sampan down`, with or without the data.
func (c *Cloud) Down(ctx context.Context, purge bool) error {
	if purge {
		return c.run(ctx, "down", "--purge")
	}
	return c.run(ctx, "down")
}

// Load is `sampan image load`.
func (c *Cloud) Load(ctx context.Context, im Image) error {
	return c.run(ctx, "image", "load", im.Archive)
}

// OneOff is `sampan run --rm` of a program that ends at once.
func (c *Cloud) OneOff(ctx context.Context, network string) error {
	return c.run(ctx, "run", "--rm", "--network", network, Ref, "exit")
}

// Kube returns the cluster's API by the node's address: the kubeconfig names
// loopback, which is the machine's own from here.
func (c *Cloud) Kube(ctx context.Context) (*client.Kube, error) {
	s, err := c.node.Status(ctx)
	if err != nil {
		return nil, err
	}
	k, err := client.OpenKube(client.AdminKubeconfig(c.data))
	if err != nil {
		return nil, err
	}
	k.Server = s.API
	return k, nil
}

// Parts are the processes of a cloud and what they are.
func (c *Cloud) Parts(ctx context.Context) (map[string]int, error) {
	s, err := c.node.Status(ctx)
	if err != nil {
		return nil, err
	}
	parts := map[string]int{"sampand": s.PID}
	keepers, err := measure.Processes("sampan-keeper", filepath.Join(c.room.Run, "keeper"))
	if err != nil {
		return nil, err
	}
	for i, pid := range keepers {
		parts["sampan-keeper"+suffix(i)] = pid
	}
	list, err := c.Containers(ctx)
	if err != nil {
		return nil, err
	}
	edges := 0
	for _, ctr := range list {
		if comm, err := os.ReadFile("/proc/" + strconv.Itoa(ctr.PID) + "/comm"); err == nil && string(comm) == "sampan-edge\n" {
			parts["sampan-edge"+suffix(edges)] = ctr.PID
			edges++
		}
	}
	return parts, nil
}

func suffix(i int) string {
	if i == 0 {
		return ""
	}
	return " " + strconv.Itoa(i+1)
}

// AwaitIdle waits until all that the cloud starts by itself runs, and a while more.
func (c *Cloud) AwaitIdle(ctx context.Context) error {
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	for {
		var list struct{ Items []client.Pod }
		if err := k.Get(ctx, "/api/v1/pods", &list); err != nil {
			return err
		}
		waiting := len(list.Items) == 0
		for _, p := range list.Items {
			waiting = waiting || p.Status.Phase != "Running"
		}
		pause := 200 * time.Millisecond
		if !waiting {
			pause = 20 * time.Second
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cloud's own pods do not all run: %w", ctx.Err())
		case <-time.After(pause):
		}
		if !waiting {
			return nil
		}
	}
}

// Close ends the cloud and deletes its data.
func (c *Cloud) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return errors.Join(c.Down(ctx, true), c.room.Close())
}
