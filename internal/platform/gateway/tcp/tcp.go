// Package tcp is TCP connections of which many are open and few have anything
// to say.
//
// A connection that waits holds no buffer: one is asked for when something has
// come. A deadline that is only moved on is not set anew each time, which costs
// more than a read.
package tcp

import (
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a connection. One goroutine reads from it at a time.
type Conn struct {
	*net.TCPConn
	raw   syscall.RawConn
	until time.Time // deadline of reads that is set; zero is none

	// Of the read under way. The functions are made once, so that a read
	// allocates nothing.
	seat       Seat
	n          int
	err        error
	polled     [1]unix.PollFd
	tryReceive func(fd uintptr) bool
	tryPeek    func(fd uintptr) bool
	tryLook    func(fd uintptr)
}

// A Seat is where bytes are put when they come. Take and Leave are called in
// turn; Leave when nothing had come after all.
type Seat interface {
	Take() []byte
	Leave()
}

// New returns c as a Conn.
func New(c *net.TCPConn) (*Conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &Conn{TCPConn: c, raw: raw}
	w.tryReceive, w.tryPeek, w.tryLook = w.receive, w.peek, func(fd uintptr) { w.look(fd) }
	return w, nil
}

// Receive waits until something comes, and returns how much of it is in what
// the seat gave. It returns zero when the other side has closed. After an error
// nothing is taken.
func (c *Conn) Receive(s Seat) (int, error) {
	c.seat = s
	if err := c.raw.Read(c.tryReceive); err != nil {
		return 0, err
	}
	return c.n, c.err
}

func (c *Conn) receive(fd uintptr) bool {
	b := c.seat.Take()
	for {
		if c.n, c.err = unix.Read(int(fd), b); c.err != unix.EINTR {
			break
		}
	}
	if c.err == nil {
		return true
	}
	c.n = 0
	c.seat.Leave()
	return c.err != unix.EAGAIN
}

// Gone waits until the other side has closed, and returns nil then. It returns
// an error as well when something comes, which stays to be read.
func (c *Conn) Gone() error {
	if err := c.raw.Read(c.tryPeek); err != nil {
		return err
	}
	return c.err
}

func (c *Conn) peek(fd uintptr) bool {
	switch events := c.look(fd); {
	case events == 0:
		return false
	case events&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0:
		c.err = nil
	default:
		c.err = os.ErrExist
	}
	return true
}

// Quiet tells whether the connection is open and nothing has come.
func (c *Conn) Quiet() bool {
	return c.raw.Control(c.tryLook) == nil && c.polled[0].Revents == 0
}

// look returns what has happened to the connection.
func (c *Conn) look(fd uintptr) int16 {
	c.polled[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}
	for {
		if _, err := unix.Poll(c.polled[:], 0); err != unix.EINTR {
			return c.polled[0].Revents
		}
	}
}

// Within makes reads end between least and most after now, when nothing comes.
// A deadline that is later than that stays.
func (c *Conn) Within(now time.Time, least, most time.Duration) {
	if c.until.Sub(now) < least {
		c.By(now.Add(most))
	}
}

// By makes reads end then, when nothing comes.
func (c *Conn) By(t time.Time) {
	c.until = t
	_ = c.SetReadDeadline(t) // of an open connection it cannot fail
}

// Unlimited makes reads wait as long as it takes.
func (c *Conn) Unlimited() { c.By(time.Time{}) }
