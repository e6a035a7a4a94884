package cri

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// maxOutput is how much of each stream ExecSync keeps. The rest is thrown away,
// as the interface demands of an answer that must fit one message.
const maxOutput = maxMessage/2 - 64<<10

// ExecSync runs a command and returns what it wrote.
func (s *Server) ExecSync(ctx context.Context, req *runtime.ExecSyncRequest) (*runtime.ExecSyncResponse, error) {
	if err := checkTimeout(req.GetTimeout()); err != nil {
		return nil, err
	}
	timeout := time.Duration(min(req.GetTimeout(), math.MaxInt32)) * time.Second
	if req.GetTimeout() > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	stdout, stderr := &limited{left: maxOutput}, &limited{left: maxOutput}
	code, err := s.engine.Exec(ctx, owner, req.GetContainerId(), engine.ExecConfig{Args: req.GetCmd()},
		container.Stdio{Stdout: stdout, Stderr: stderr})
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, status.Errorf(codes.DeadlineExceeded, "exec in container %s: timeout %s exceeded", req.GetContainerId(), timeout)
	}
	if err != nil {
		return nil, err
	}
	return &runtime.ExecSyncResponse{Stdout: stdout.bytes(), Stderr: stderr.bytes(), ExitCode: int32(code)}, nil
}

// limited keeps the first bytes that it is given.
type limited struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(p), l.left)
	l.buf.Write(p[:n])
	l.left -= n
	return len(p), nil
}

func (l *limited) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Bytes()
}

// Exec returns a URL at which a command runs.
func (s *Server) Exec(_ context.Context, req *runtime.ExecRequest) (*runtime.ExecResponse, error) {
	if len(req.GetCmd()) == 0 || req.GetCmd()[0] == "" {
		return nil, fmt.Errorf("cmd is empty: %w", fault.Invalid)
	}
	if err := s.streamed(req.GetContainerId(), req); err != nil {
		return nil, err
	}
	return s.streams.GetExec(req)
}

// Attach returns a URL at which a container's own streams are.
func (s *Server) Attach(_ context.Context, req *runtime.AttachRequest) (*runtime.AttachResponse, error) {
	if err := s.streamed(req.GetContainerId(), req); err != nil {
		return nil, err
	}
	return s.streams.GetAttach(req)
}

// streamed refuses what no session can be: one that carries nothing, and one on
// a terminal with errors apart, which a terminal cannot tell.
func (s *Server) streamed(id string, req interface {
	GetTty() bool
	GetStdin() bool
	GetStdout() bool
	GetStderr() bool
}) error {
	switch {
	case req.GetTty() && req.GetStderr():
		return fmt.Errorf("tty and stderr: a terminal has one output: %w", fault.Invalid)
	case !req.GetStdin() && !req.GetStdout() && !req.GetStderr():
		return fmt.Errorf("none of stdin, stdout and stderr: %w", fault.Invalid)
	}
	return s.runs(id)
}

func (s *Server) runs(id string) error {
	c, err := s.engine.Container(owner, id)
	if err != nil {
		return err
	}
	if c.State != engine.Running {
		return fmt.Errorf("container %s is %s: %w", c.ID, c.State, fault.Precondition)
	}
	return nil
}

// PortForward returns a URL at which a pod's ports are.
func (s *Server) PortForward(_ context.Context, req *runtime.PortForwardRequest) (*runtime.PortForwardResponse, error) {
	pod, err := s.engine.Pod(owner, req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	for i, port := range req.GetPort() {
		if port < 1 || port > math.MaxUint16 {
			return nil, fmt.Errorf("port[%d]: %d is no port: %w", i, port, fault.Invalid)
		}
	}
	if pod.State != engine.PodReady {
		return nil, fmt.Errorf("pod %s is %s: %w", pod.ID, pod.State, fault.Precondition)
	}
	return s.streams.GetPortForward(req)
}

// streamRuntime is what the library's server calls once a client has come to a
// URL.
type streamRuntime struct{ s *Server }

// Exec runs a command; a failure of its own comes back as its exit code.
func (r streamRuntime) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, errw io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	code, err := r.s.engine.Exec(ctx, owner, id, engine.ExecConfig{Args: cmd, TTY: tty}, stdio(ctx, in, out, errw, resize))
	if err != nil {
		return err
	}
	if code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
	}
	return nil
}

// Attach connects to a container's own streams.
func (r streamRuntime) Attach(ctx context.Context, id string, in io.Reader, out, errw io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return r.s.engine.Attach(ctx, owner, id, stdio(ctx, in, out, errw, resize))
}

// PortForward connects a stream with a port of a pod.
func (r streamRuntime) PortForward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	if port <= 0 || port > math.MaxUint16 {
		return fmt.Errorf("port-forward: port %d: %w", port, fault.Invalid)
	}
	return r.s.engine.PortForward(ctx, owner, id, uint16(port), stream)
}

// stdio turns the library's streams into the engine's. An interface that holds
// a nil pointer is not nil, so each is looked at.
func stdio(ctx context.Context, in io.Reader, out, errw io.WriteCloser, resize <-chan remotecommand.TerminalSize) container.Stdio {
	io := container.Stdio{Stdin: in}
	if out != nil {
		io.Stdout = out
	}
	if errw != nil {
		io.Stderr = errw
	}
	if resize == nil {
		return io
	}
	sizes := make(chan container.Size)
	io.Resize = sizes
	go func() {
		defer close(sizes)
		for {
			select {
			case s, ok := <-resize:
				if !ok {
					return
				}
				select {
				case sizes <- container.Size{Width: s.Width, Height: s.Height}:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return io
}
