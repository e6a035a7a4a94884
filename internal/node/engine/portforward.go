package engine

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// PortForward connects stream with a TCP port of a pod's loopback and returns
// when either side has ended.
func (e *Engine) PortForward(ctx context.Context, owner, id string, port uint16, stream io.ReadWriteCloser) error {
	p, err := e.findPod(owner, id)
	if err != nil {
		return err
	}
	rec, err := p.ready()
	if err != nil {
		return fmt.Errorf("port-forward: %w", err)
	}
	conn, err := dialInPod(ctx, &rec, port)
	if err != nil {
		return fmt.Errorf("port-forward to port %d of pod %s: %w", port, rec.ID, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(stream, conn)
		done <- err
	}()
	_, err = io.Copy(conn, stream)
	// The client has said all; let the pod answer to the end.
	if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
		_ = half.CloseWrite() // the pod may have closed first
	}
	if err2 := <-done; err == nil {
		err = err2
	}
	return err
}

// dialInPod opens a connection inside the pod's network namespace. A socket
// belongs to the namespace of the thread that made it, so once it is connected
// any thread may use it.
func dialInPod(ctx context.Context, p *Pod, port uint16) (net.Conn, error) {
	if p.HostNetwork() {
		return dialLoopback(ctx, port)
	}
	if p.Namespaces.Net == "" {
		return nil, fmt.Errorf("the pod has no network: %w", fault.Precondition)
	}
	var conn net.Conn
	err := inNetNS(p.Namespaces.Net, func() error {
		var err error
		conn, err = dialLoopback(ctx, port)
		return err
	})
	return conn, err
}

// dialLoopback tries both families, one after the other: net.Dial would try
// them on goroutines, and so on threads, of its own.
func dialLoopback(ctx context.Context, port uint16) (net.Conn, error) {
	var first error
	for _, addr := range []string{"127.0.0.1", "::1"} {
		d := net.Dialer{Timeout: 10 * time.Second, FallbackDelay: -1}
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(addr, strconv.Itoa(int(port))))
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}
