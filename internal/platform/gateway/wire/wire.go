// Package wire is TCP connections of which many are open and few have anything
// to say.
//
// A connection that waits holds no buffer: one is asked for when something has
// come. A deadline that is only moved on is not set anew each time, which costs
// more than a read.
package wire

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
	tryReceive func(fd uintptr) bool
	tryPeek    func(fd uintptr) bool
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
	w.tryReceive, w.tryPeek = w.receive, w.peek
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
	c.n, c.err = ignoringEINTR(func() (int, error) { return unix.Read(int(fd), b) })
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
	var n int
	n, c.err = peek(int(fd))
	switch {
	case c.err == unix.EAGAIN:
		return false
	case c.err == nil && n > 0:
		c.err = os.ErrExist
	default:
		c.err = nil // it was reset, which is gone too
	}
	return true
}

// Quiet tells whether the connection is open and nothing has come.
func (c *Conn) Quiet() bool {
	quiet := false
	err := c.raw.Control(func(fd uintptr) {
		_, err := peek(int(fd))
		quiet = err == unix.EAGAIN
	})
	return err == nil && quiet
}

func peek(fd int) (int, error) {
	var b [1]byte
	return ignoringEINTR(func() (int, error) {
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return n, err
	})
}

func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// Within makes reads end between least and most after now, when nothing comes.
func (c *Conn) Within(now time.Time, least, most time.Duration) {
	if c.until.Sub(now) < least {
		c.until = now.Add(most)
		_ = c.SetReadDeadline(c.until) // of an open connection it cannot fail
	}
}

// Unlimited makes reads wait as long as it takes.
func (c *Conn) Unlimited() {
	c.until = time.Time{}
	_ = c.SetReadDeadline(c.until)
}
