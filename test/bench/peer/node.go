package peer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/sampan-cloud/sampan/api/client"
	"github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/test/bench/measure"
)

// Node is Sampan's engine by its local socket, as the command line uses it.
type Node struct {
	node *client.Node
}

// load brings the image in.
func (n *Node) load(ctx context.Context, im Image) error {
	f, err := os.Open(im.Archive)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = n.node.Progress(ctx, "/v1/images/load", f, func(local.Progress) {})
	return err
}

// ToExec runs a program that ends at once, and returns how many milliseconds
// passed between asking for the container and its program being executed.
func (n *Node) ToExec(ctx context.Context, network string) (float64, error) {
	began := time.Now()
	var took time.Duration
	code, err := n.node.Session(ctx, "/v1/run", local.Run{Image: Ref, Args: []string{"exit"}, Remove: true, Network: network},
		client.Stdio{Out: io.Discard, Err: io.Discard, Started: func(string) { took = time.Since(began) }})
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	return measure.Milliseconds(took), err
}

// Detached starts a container that stays, and returns a function that removes it.
func (n *Node) Detached(ctx context.Context, network string) (remove func(context.Context) error, err error) {
	started := make(chan string, 1)
	ended := make(chan error, 1)
	session, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		_, err := n.node.Session(session, "/v1/run", local.Run{Image: Ref, Network: network},
			client.Stdio{Out: io.Discard, Err: io.Discard, Started: func(id string) { started <- id }})
		ended <- err
	}()
	select {
	case id := <-started:
		hangUp() // the container goes on
		<-ended
		return func(ctx context.Context) error {
			return n.node.Call(ctx, http.MethodDelete, "/v1/containers/"+id+"?force=true", nil, nil)
		}, nil
	case err := <-ended:
		hangUp()
		return nil, fmt.Errorf("container did not start: %w", err)
	case <-ctx.Done():
		hangUp()
		<-ended
		return nil, ctx.Err()
	}
}

// Containers lists those that run.
func (n *Node) Containers(ctx context.Context) ([]local.Container, error) {
	var list []local.Container
	return list, n.node.Call(ctx, http.MethodGet, "/v1/containers", nil, &list)
}
