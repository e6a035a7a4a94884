package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// A client is one connection of the daemon.
type client struct {
	*wire.Conn
	gone chan struct{} // closed when the connection has ended
}

// listen opens the socket, or takes the one that was passed on.
func listen(path string, from *inheritance) (*os.File, error) {
	if from != nil {
		return os.NewFile(uintptr(from.Listener), path), nil
	}
	// The lock is ours, so whoever made this socket is dead.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("keeper: socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("keeper: listen on %s: %w", path, err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), unix.Listen(fd, 64)); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("keeper: listen on %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// accept serves connections until ctx ends.
func (k *Keeper) accept(ctx context.Context, listener *os.File) {
	raw, err := listener.SyscallConn()
	if err != nil {
		k.log.Error("nobody can connect", "err", err)
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.SetReadDeadline(time.Now()) })
	defer stop()
	for ctx.Err() == nil {
		var fd int
		var aerr error
		err := raw.Read(func(l uintptr) bool {
			fd, _, aerr = unix.Accept4(int(l), unix.SOCK_CLOEXEC)
			return aerr != unix.EAGAIN
		})
		if err = errors.Join(err, aerr); err != nil {
			continue
		}
		conn, err := wire.NewConn(fd)
		if err != nil {
			continue
		}
		if cred, err := conn.Peer(); err != nil || cred.Uid != 0 {
			k.log.Warn("connection refused: only root may", "cred", cred, "err", err)
			conn.Close()
			continue
		}
		c := &client{Conn: conn, gone: make(chan struct{})}
		k.mu.Lock()
		k.clients[c] = true
		k.mu.Unlock()
		k.sessions.Go(func() { k.serve(c) })
	}
}

// serve answers a client's requests, each on its own.
func (k *Keeper) serve(c *client) {
	var calls sync.WaitGroup
	for {
		m, fds, err := c.Recv()
		if err != nil {
			break
		}
		calls.Go(func() {
			defer wire.CloseAll(fds)
			answer := wire.Message{ID: m.ID}
			var failure *wire.Error
			leave, err := k.enter(m.Call)
			defer leave()
			var body any
			var out out
			if err == nil {
				body, out, err = k.call(c, m, fds)
			}
			defer out.after()
			switch {
			case errors.As(err, &failure):
				answer.Err = failure
			case err != nil:
				answer.Err = &wire.Error{Text: err.Error()}
			default:
				answer.Body, err = json.Marshal(body)
				if err != nil {
					answer.Err = &wire.Error{Text: err.Error()}
				}
			}
			if err := c.Send(answer, out.fds...); err != nil && m.Call != wire.CallReaped {
				k.log.Debug("answer not sent", "call", m.Call, "err", err)
			}
		})
	}
	close(c.gone)
	k.mu.Lock()
	delete(k.clients, c)
	k.mu.Unlock()
	calls.Wait()
	c.Close()
}

// tell sends an event to every client.
func (k *Keeper) tell(event string, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		return
	}
	k.mu.Lock()
	var all []*client
	for c := range k.clients {
		all = append(all, c)
	}
	k.mu.Unlock()
	for _, c := range all {
		// One that is gone asks again when it is back.
		_ = c.Send(wire.Message{Call: event, Body: data})
	}
}

// disconnect ends all connections.
func (k *Keeper) disconnect() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.clients {
		c.Close()
	}
}
