package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	api "github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/api/stream"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
)

// connection is an upgraded one: frames both ways.
type connection struct {
	net.Conn
	in  *stream.Reader
	out *stream.Writer
}

// upgrade takes the connection over from HTTP.
func upgrade(w http.ResponseWriter, r *http.Request) (*connection, error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), stream.Protocol) {
		return nil, fmt.Errorf("the call needs an upgrade to %s: %w", stream.Protocol, fault.Invalid)
	}
	h, ok := w.(http.Hijacker)
	if !ok {
		return nil, fmt.Errorf("the connection cannot be upgraded: %w", fault.Unsupported)
	}
	conn, buf, err := h.Hijack()
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", stream.Protocol)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	var in io.Reader = conn
	if buf.Reader.Buffered() > 0 {
		in = bufio.NewReader(buf.Reader)
	}
	return &connection{Conn: conn, in: stream.NewReader(in), out: stream.NewWriter(conn)}, nil
}

// fail sends err as the last frame.
func (c *connection) fail(err error) {
	answer := api.Error{Error: err.Error(), Kind: string(fault.Of(err))}
	var step *launch.StepError
	if errors.As(err, &step) && step.Step == "exec" {
		answer.ExitCode = step.ExitCode()
	}
	b, jsonErr := json.Marshal(answer)
	if jsonErr == nil {
		_ = c.out.Send(stream.Failure, b) // or the client has hung up
	}
}

// streamsWanted says which streams a process has.
type streamsWanted struct {
	tty, stdin    bool
	width, height uint16
}

// streams returns the process's side of the connection. What the client sends
// is read until it hangs up, which calls gone.
func (c *connection) streams(ctx context.Context, gone func(), want streamsWanted, signal func(int) error) container.Stdio {
	io := container.Stdio{Stdout: c.out.As(stream.Stdout)}
	if !want.tty {
		io.Stderr = c.out.As(stream.Stderr)
	}
	input := newInput()
	if want.stdin {
		io.Stdin = input
	}
	sizes := make(chan container.Size, 1)
	if want.tty {
		io.Resize = sizes
		if want.width > 0 && want.height > 0 {
			sizes <- container.Size{Width: want.width, Height: want.height}
		}
	}
	go c.receive(ctx, gone, input, sizes, signal)
	return io
}

// receive ends with the connection, which whoever made it closes.
func (c *connection) receive(ctx context.Context, gone func(), input *input, sizes chan container.Size, signal func(int) error) {
	defer gone()
	defer input.end()
	for {
		f, err := c.in.Next()
		if err != nil {
			return
		}
		switch f.Kind {
		case stream.Stdin:
			if len(f.Payload) == 0 {
				input.end()
				continue
			}
			input.put(ctx, f.Payload)
		case stream.Resize:
			width, height := f.Size()
			select { // only the latest size matters
			case <-sizes:
			default:
			}
			select {
			case sizes <- container.Size{Width: width, Height: height}:
			default:
			}
		case stream.Signal:
			_ = signal(int(f.Payload[0])) // the process may just have ended
		}
	}
}
