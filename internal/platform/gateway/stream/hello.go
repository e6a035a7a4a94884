package stream

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// helloLimit is how long a client may take to say which name it wants.
const helloLimit = 10 * time.Second

// errHeard ends a handshake as soon as its first message is there.
var errHeard = errors.New("heard")

// hear reads the first message of a TLS connection. It returns the name that the
// client asks for and what was read, which is to be read again by whoever serves
// the connection.
func hear(conn net.Conn) (name string, read []byte, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(helloLimit)); err != nil {
		return "", nil, err
	}
	listening := &hearing{Conn: conn}
	heard := false
	err = tls.Server(listening, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name, heard = strings.ToLower(strings.TrimSuffix(h.ServerName, ".")), true
		return nil, errHeard
	}}).Handshake()
	if !heard {
		return "", nil, err
	}
	return name, listening.read.Bytes(), conn.SetReadDeadline(time.Time{})
}

// hearing keeps what is read, and says nothing.
type hearing struct {
	net.Conn
	read bytes.Buffer
}

func (h *hearing) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.read.Write(b[:n])
	return n, err
}

func (h *hearing) Write(b []byte) (int, error) { return len(b), nil }

// again is a connection of which something has been read already.
type again struct {
	net.Conn
	read []byte
}

func (a *again) Read(b []byte) (int, error) {
	if len(a.read) == 0 {
		return a.Conn.Read(b)
	}
	n := copy(b, a.read)
	a.read = a.read[n:]
	return n, nil
}

// NetConn is the connection itself.
func (a *again) NetConn() net.Conn { return a.Conn }

// WriteTo lets the kernel copy what comes after.
func (a *again) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(a.read)
	if err != nil {
		return int64(n), err
	}
	a.read = nil
	rest, err := io.Copy(w, a.Conn)
	return int64(n) + rest, err
}
