package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxFrame bounds one message, so that a broken peer cannot make us allocate
// without end. The largest real ones are specifications with hundreds of mounts.
const maxFrame = 16 << 20

// maxFDs is the kernel's own limit for one message (SCM_MAX_FD).
const maxFDs = 253

// A Conn carries messages with file descriptors. Send may be called by many at
// once, Recv by one.
type Conn struct {
	file *os.File
	raw  syscall.RawConn

	send sync.Mutex
}

// NewConn takes over a connected unix stream socket.
func NewConn(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("keeper socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "keeper.sock")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("keeper socket: %w", err)
	}
	return &Conn{file: file, raw: raw}, nil
}

// Dial connects to the socket at path.
func Dial(path string) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("keeper socket: %w", err)
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return NewConn(fd)
}

// Close ends the connection. Recv then returns an error.
func (c *Conn) Close() error { return c.file.Close() }

// Peer returns who is at the other end.
func (c *Conn) Peer() (*unix.Ucred, error) {
	var cred *unix.Ucred
	var err error
	if cerr := c.raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil {
		return nil, cerr
	}
	return cred, err
}

// Send writes one message. The descriptors stay the caller's.
func (c *Conn) Send(m Message, fds ...int) error {
	if len(fds) > maxFDs {
		return fmt.Errorf("send %s: %d descriptors in one message, at most %d", m.Call, len(fds), maxFDs)
	}
	frame, err := m.frame()
	if err != nil {
		return fmt.Errorf("send %s: %w", m.Call, err)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	c.send.Lock()
	defer c.send.Unlock()
	for len(frame) > 0 {
		var n int
		var serr error
		err := c.raw.Write(func(fd uintptr) bool {
			n, serr = unix.SendmsgN(int(fd), frame, rights, nil, unix.MSG_NOSIGNAL)
			return serr != unix.EAGAIN
		})
		if err == nil {
			err = serr
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("send %s: %w", m.Call, err)
		}
		frame, rights = frame[n:], nil // they travel with the first byte
	}
	return nil
}

// Wait returns when there is a message to receive, or the connection has ended.
func (c *Conn) Wait() {
	_ = c.raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err != unix.EAGAIN && err != unix.EINTR
	})
}

// Recv reads one message. The descriptors are the caller's to close.
func (c *Conn) Recv() (Message, []int, error) {
	var m Message
	var head [4]byte
	fds, err := c.readHead(head[:])
	if err == nil {
		size := binary.BigEndian.Uint32(head[:])
		if size > maxFrame {
			err = fmt.Errorf("a message of %d bytes, at most %d", size, maxFrame)
		} else {
			body := make([]byte, size)
			if _, err = io.ReadFull(c.file, body); err == nil {
				m, err = parse(body)
			}
		}
	}
	if err != nil {
		CloseAll(fds)
		return m, nil, err
	}
	return m, fds, nil
}

// readHead fills head and takes the descriptors that come with its first byte.
func (c *Conn) readHead(head []byte) ([]int, error) {
	var fds []int
	oob := make([]byte, unix.CmsgSpace(4*maxFDs))
	for got := 0; got < len(head); {
		var n, oobn int
		var rerr error
		err := c.raw.Read(func(fd uintptr) bool {
			n, oobn, _, _, rerr = unix.Recvmsg(int(fd), head[got:], oob, unix.MSG_CMSG_CLOEXEC)
			return rerr != unix.EAGAIN
		})
		if err == nil {
			err = rerr
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fds, err
		}
		fds = append(fds, parseRights(oob[:oobn])...)
		if n == 0 {
			return fds, io.EOF
		}
		got += n
	}
	return fds, nil
}

func parseRights(oob []byte) []int {
	var fds []int
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range msgs {
		if nums, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, nums...)
		}
	}
	return fds
}

// CloseAll closes descriptors that nobody wants.
func CloseAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
