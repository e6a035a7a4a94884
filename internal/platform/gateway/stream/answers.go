package stream

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// answers brings a client what its endpoint says, until neither has said
// anything for a while. It returns an error when nobody listens there. A client
// is one request, and the first datagram that comes back is its answer; an
// endpoint that says nothing may have nothing to say.
func (d *datagrams) answers(c *client) (err error) {
	stats, began, answered := &c.port.Service.Stats, time.Now(), false
	answer := func(failed bool) {
		if !answered {
			answered = true
			stats.Answered(time.Since(began), failed)
		}
	}
	raw, err := c.to.SyscallConn()
	if err != nil {
		return err
	}
	for {
		limit := idleLimit
		if answered && c.said.Load() <= 1 {
			limit = onceLimit
		}
		_ = c.to.SetReadDeadline(time.Now().Add(limit))
		buf, n, err := d.server.read(raw)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			if time.Since(time.Unix(0, c.used.Load())) < limit {
				continue
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			answer(true)
			return err
		}
		answer(false)
		c.used.Store(time.Now().UnixNano())
		_, _, _ = d.conn.WriteMsgUDPAddrPort((*buf)[:n], c.oob, c.from)
		d.server.room.Put(buf)
	}
}

// read waits for a datagram. It takes room only when there is one: thousands of
// clients have nothing to say, and any datagram may be a large one. The room is
// the caller's when there is no error.
func (s *Server) read(raw syscall.RawConn) (buf *[]byte, n int, err error) {
	werr := raw.Read(func(fd uintptr) bool {
		buf, _ = s.room.Get().(*[]byte)
		n, _, err = unix.Recvfrom(int(fd), *buf, 0)
		if err != nil {
			s.room.Put(buf)
			buf = nil
		}
		return !errors.Is(err, unix.EAGAIN)
	})
	if werr != nil {
		err = werr
	}
	return buf, n, err
}

// source makes of what came with a datagram what is to go with its answer.
func source(oob []byte) []byte {
	var to net.IP
	var six ipv6.ControlMessage
	var four ipv4.ControlMessage
	switch {
	case six.Parse(oob) == nil && six.Dst != nil:
		to = six.Dst
	case four.Parse(oob) == nil && four.Dst != nil:
		to = four.Dst
	default:
		return nil
	}
	if to.To4() != nil {
		return (&ipv4.ControlMessage{Src: to}).Marshal()
	}
	return (&ipv6.ControlMessage{Src: to}).Marshal()
}
