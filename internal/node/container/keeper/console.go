package keeper

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// withConsole runs create with the path of a socket, over which a stock runtime
// sends the master of the terminal that it made.
func (k *Keeper) withConsole(b *box, create func(path string) (process, error)) (process, error) {
	k.mu.Lock()
	k.lastExec++
	path := filepath.Join(b.dir, fmt.Sprintf("tty%d", k.lastExec))
	k.mu.Unlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return process{}, fmt.Errorf("console socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return process{}, fmt.Errorf("console socket %s: %w", path, err)
	}
	defer unix.Unlink(path)
	if err := unix.Listen(fd, 1); err != nil {
		return process{}, fmt.Errorf("console socket %s: %w", path, err)
	}
	p, err := create(path)
	if err != nil {
		return process{}, err
	}
	// The runtime has connected and sent by now: both wait in the socket.
	if p.master, err = receiveMaster(fd); err != nil {
		unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
		unix.Close(p.pidfd)
		k.reaper.forget(p.pid)
		return process{}, fmt.Errorf("terminal from the runtime: %w", err)
	}
	return p, nil
}

func receiveMaster(listener int) (int, error) {
	limit := unix.NsecToTimeval((10 * time.Second).Nanoseconds())
	unix.SetsockoptTimeval(listener, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	conn, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(conn)
	text, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(conn, text, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return -1, fmt.Errorf("no descriptor came: %w", unix.EPROTO)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("no descriptor came: %w", unix.EPROTO)
	}
	return fds[0], nil
}
