package proxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/http1"
	"github.com/sampan-cloud/sampan/internal/platform/gateway/tcp"
)

// How long a connection may say nothing. Deadlines are moved on only when they
// come near, so each is between two limits.
const (
	firstLeast, firstMost = 30 * time.Second, 30 * time.Second // before its first request
	idleLeast, idleMost   = 4 * time.Minute, 5 * time.Minute   // between requests
	restMost              = 2 * time.Second                    // within one, before it is net/http that waits for it
)

// Line is a client's connection whose requests are read here, and sent on with
// nothing in between, as long as they leave no doubt and ask for nothing but to
// be sent on. That is most of what goes through a gateway, at a fifth of the
// processor time. The first request that is anything else ends it: from there
// the connection belongs to net/http, which is given what has been read.
//
// Nothing is decided twice. What a request means is for http1 to say or else for
// net/http, where it goes is for the same table, and a rule with any filter or
// policy is left to Serve, as is a request that no backend takes at once.
type Line struct {
	p        *Proxy
	port     int
	conn     *tcp.Conn
	client   netip.Addr
	draining *atomic.Bool
	state    atomic.Int32

	desk    *desk
	have    int       // bytes in desk.in
	now     time.Time // of its last answer
	vouched []byte    // the fields about the client, made for its first request
	watch   *watch    // of the client, while an answer takes long
}

// The states of a Line: it can be closed between requests only.
const (
	busy int32 = iota
	idle
	closed
)

// desk is what a request is worked on with. A connection has one only while it
// has a request.
type desk struct {
	in, out [8 << 10]byte
	req     http1.Request
	resp    http1.Response
	sending sending
}

func newDesk() any { return new(desk) }

// NewLine returns the Line of a connection that came in on port. Answers ask the
// client to connect anew as soon as draining is true.
func (p *Proxy) NewLine(port int, c *net.TCPConn, draining *atomic.Bool) (*Line, error) {
	conn, err := tcp.New(c)
	if err != nil {
		return nil, err
	}
	peer, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return &Line{p: p, port: port, conn: conn, client: peer.Addr().Unmap(), draining: draining, now: time.Now()}, nil
}

// Serve answers requests until one is for net/http, and returns the connection
// then. It returns nil when the connection has been closed.
func (l *Line) Serve() net.Conn {
	first := true
	for {
		if l.have == 0 && !l.await(first) {
			l.Leave()
			l.conn.Close()
			return nil
		}
		first = false
		switch l.exchange() {
		case next:
			if l.have == 0 {
				l.Leave()
			}
		case doubt:
			rest := append([]byte(nil), l.desk.in[:l.have]...)
			l.have = 0
			l.Leave()
			l.conn.Unlimited()
			return &handed{TCPConn: l.conn.TCPConn, rest: rest}
		case end:
			l.have = 0
			l.Leave()
			l.hangUp()
			return nil
		}
	}
}

// CloseIdle closes the connection if it has no request. One whose request is on
// its way at this moment sees it closed: there is no way to know.
func (l *Line) CloseIdle() bool {
	if !l.state.CompareAndSwap(idle, closed) {
		return false
	}
	l.conn.Close()
	return true
}

// Close closes the connection whatever it does.
func (l *Line) Close() { l.conn.Close() }

// await waits for a request.
func (l *Line) await(first bool) bool {
	least, most := idleLeast, idleMost
	if first {
		least, most = firstLeast, firstMost
	}
	l.conn.Within(l.now, least, most)
	l.state.Store(idle)
	runtime.Gosched() // as after a request to a backend
	n, err := l.conn.Receive(l)
	if !l.state.CompareAndSwap(idle, busy) || err != nil {
		return false
	}
	l.have = n
	if n == 0 {
		l.Leave()
	}
	return n > 0
}

// Take gives what has come a place.
func (l *Line) Take() []byte {
	l.desk = l.p.desks.Get().(*desk)
	return l.desk.in[:]
}

// Leave gives the place back.
func (l *Line) Leave() {
	if l.desk != nil {
		l.p.desks.Put(l.desk)
		l.desk = nil
	}
}

// more reads more of a request that has begun. It returns false when there is no
// room for it, or the client takes its time: net/http has patience.
func (l *Line) more() (ok bool, err error) {
	if l.have == len(l.desk.in) {
		return false, nil
	}
	l.conn.By(time.Now().Add(restMost))
	n, err := l.conn.Read(l.desk.in[l.have:])
	l.have += n
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}

// hangUp closes the connection when the client has seen all of the answer:
// closing at once would take the answer back from a client that is sending.
func (l *Line) hangUp() {
	defer l.conn.Close()
	if l.conn.CloseWrite() != nil {
		return
	}
	l.conn.By(time.Now().Add(lingerTime))
	var rest [512]byte
	for {
		if _, err := l.conn.Read(rest[:]); err != nil {
			return
		}
	}
}

// lingerTime is what net/http gives clients, too.
const lingerTime = 500 * time.Millisecond

// about are the fields that tell the backend who asks and how, up to the name
// that was asked for.
func (l *Line) about() []byte {
	if l.vouched == nil {
		peer := l.client.String()
		l.vouched = []byte("X-Forwarded-For: " + peer + "\r\nX-Real-Ip: " + peer + "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: " +
			strconv.Itoa(l.port) + "\r\nX-Forwarded-Host: ")
	}
	return l.vouched
}

// handed is a connection of which some has been read.
type handed struct {
	*net.TCPConn
	rest []byte
}

// Read returns what has been read before, and then what comes.
func (h *handed) Read(b []byte) (int, error) {
	if len(h.rest) == 0 {
		return h.TCPConn.Read(b)
	}
	n := copy(b, h.rest)
	if h.rest = h.rest[n:]; len(h.rest) == 0 {
		h.rest = nil
	}
	return n, nil
}

// WriteTo writes the same, for io.Copy.
func (h *handed) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(h.rest)
	if h.rest = h.rest[n:]; err != nil {
		return int64(n), err
	}
	m, err := h.TCPConn.WriteTo(w)
	return int64(n) + m, err
}
