package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/api/stream"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Stdio is this side of a process that runs on the node. In may be nil.
type Stdio struct {
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
	Sizes   <-chan [2]uint16 // width and height of the terminal, as they change
	Signals <-chan os.Signal // to pass on
	Started func(id string)  // called once the process runs; may be nil
}

// Session asks for a process at path and stays connected until it has ended. It
// returns the exit code.
func (n *Node) Session(ctx context.Context, path string, request any, std Stdio) (int, error) {
	conn, err := n.Dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	body, err := json.Marshal(request)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node"+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", stream.Protocol)
	req.Header.Set("Content-Type", "application/json")
	if err := req.Write(conn); err != nil {
		return 0, fmt.Errorf("ask the daemon: %w", err)
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, req)
	if err != nil {
		return 0, fmt.Errorf("the daemon's answer: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer res.Body.Close()
		return 0, nodeError(res)
	}
	w := stream.NewWriter(conn)
	ended := make(chan struct{})
	var senders sync.WaitGroup
	defer senders.Wait()
	defer close(ended)
	senders.Go(func() { std.forward(w, ended) })
	if std.In != nil {
		// Not waited for: a read from a terminal cannot be interrupted.
		go func() {
			_, err := io.Copy(w.As(stream.Stdin), std.In)
			if err == nil {
				w.Send(stream.Stdin, nil)
			}
		}()
	}
	return std.receive(ctx, stream.NewReader(r))
}

// forward passes sizes and signals on until the process has ended.
func (std *Stdio) forward(w *stream.Writer, ended <-chan struct{}) {
	for {
		var err error
		select {
		case <-ended:
			return
		case s := <-std.Sizes:
			err = w.SendResize(s[0], s[1])
		case s := <-std.Signals:
			err = w.Send(stream.Signal, []byte{byte(number(s))})
		}
		if err != nil {
			return // the connection is gone; receive says so
		}
	}
}

// receive writes output until the last frame.
func (std *Stdio) receive(ctx context.Context, r *stream.Reader) (int, error) {
	for {
		f, err := r.Next()
		if err != nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			return 0, fmt.Errorf("the connection to the daemon broke; the container goes on, `sampan ps` shows it: %w", fault.Unavailable)
		}
		switch f.Kind {
		case stream.Stdout:
			_, err = std.Out.Write(f.Payload)
		case stream.Stderr:
			_, err = std.Err.Write(f.Payload)
		case stream.Exit:
			return f.Code(), nil
		case stream.Started:
			var s local.Started
			if json.Unmarshal(f.Payload, &s) == nil && std.Started != nil {
				std.Started(s.ID)
			}
		case stream.Failure:
			var e local.Error
			if err := json.Unmarshal(f.Payload, &e); err != nil {
				return 0, err
			}
			return 0, &APIError{Message: e.Error, Kind: fault.Kind(e.Kind), ExitCode: e.ExitCode}
		}
		if err != nil {
			return 0, err
		}
	}
}

// Progress reads the lines of a long call, shows each, and returns its result.
func (n *Node) Progress(ctx context.Context, path string, body io.Reader, show func(local.Progress)) (*local.Image, error) {
	res, err := n.Stream(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	defer res.Close()
	for d := json.NewDecoder(res); ; {
		var p local.Progress
		switch err := d.Decode(&p); {
		case err == io.EOF:
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("the daemon's answer: %w", err)
		case p.Error != nil:
			return nil, &APIError{Message: p.Error.Error, Kind: fault.Kind(p.Error.Kind)}
		case p.Done != nil:
			return p.Done, nil
		}
		show(p)
	}
}
