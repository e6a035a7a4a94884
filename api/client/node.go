package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// ErrNoDaemon says that nothing listens on the local socket.
var ErrNoDaemon = fmt.Errorf("the daemon is not running: %w", fault.Unavailable)

// Node is the daemon of this machine, by its local socket.
type Node struct {
	Socket string
	http   *http.Client
}

// Socket is where the daemon of a run directory listens.
func Socket(runDir string) string { return filepath.Join(runDir, "sampan.sock") }

// OpenNode returns the daemon whose run directory is given. It does not connect.
func OpenNode(runDir string) *Node {
	n := &Node{Socket: Socket(runDir)}
	n.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.Dial(ctx) },
	}}
	return n
}

// Dial connects to the local socket.
func (n *Node) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", n.Socket)
	switch {
	case err == nil:
		return c, nil
	case fault.Of(err) == fault.Forbidden:
		return nil, fmt.Errorf("%s: %w", n.Socket, fault.Forbidden)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, ErrNoDaemon
}

// Status is how far the cloud on this machine is.
type Status struct {
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Node     string    `json:"node"`
	Address  string    `json:"address"`
	State    string    `json:"state"` // starting, ready, stopping
	Since    time.Time `json:"since"`
	Parts    []Part    `json:"parts"`
	API      string    `json:"api"`                // URL of the Kubernetes API
	Registry string    `json:"registry,omitempty"` // host:port of the registry
	Images   string    `json:"images,omitempty"`   // the name that its images begin with
}

// Part is one part of the daemon.
type Part struct {
	Name  string        `json:"name"`
	State string        `json:"state"`
	Took  time.Duration `json:"took"`
	Err   string        `json:"error,omitempty"`
}

// Ready tells whether everything has started.
func (s Status) Ready() bool { return s.State == "ready" }

// Status asks the daemon how it is.
func (n *Node) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, n.Call(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Call sends in as JSON and reads the answer into out; either may be nil.
func (n *Node) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	res, err := n.Stream(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Close()
	if out == nil {
		_, err := io.Copy(io.Discard, res)
		return err
	}
	return json.NewDecoder(res).Decode(out)
}

// Stream sends body and returns what comes back, for the caller to close.
func (n *Node) Stream(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, body)
	if err != nil {
		return nil, err
	}
	res, err := n.http.Do(req)
	if err != nil {
		for _, e := range []error{ErrNoDaemon, fault.Forbidden, context.Canceled} {
			if errors.Is(err, e) {
				return nil, e
			}
		}
		// The kernel took the connection in, and then the daemon was gone.
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) {
			return nil, ErrNoDaemon
		}
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return nil, nodeError(res)
	}
	return res.Body, nil
}

// nodeError reads the daemon's words for a failure.
func nodeError(res *http.Response) error {
	var e struct{ Error string }
	data, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if json.Unmarshal(data, &e) != nil || e.Error == "" {
		e.Error = strings.TrimSpace(res.Status + " " + string(data))
	}
	return &APIError{Message: e.Error, Kind: kindOf(res.StatusCode)}
}
