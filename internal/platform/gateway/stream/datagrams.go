package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

const (
	// idleLimit is how long a client that says nothing and is told nothing keeps
	// its endpoint.
	idleLimit = time.Minute
	// onceLimit is that of a client that has said one thing and has its answer, as
	// in a question to DNS.
	onceLimit = 5 * time.Second
	// maxClients bounds what datagrams with made-up senders can cost. When there
	// are more, one that has been silent for long makes room.
	maxClients = 10_000
	// maxWaiting is how many datagrams of one client are kept while an App starts.
	maxWaiting = 16
	// maxDatagram is the largest that UDP can carry.
	maxDatagram = 64 << 10
)

// datagrams is one port of UDP. Each client, by its address and port, has a
// connection to an endpoint of its own, so that answers find back.
type datagrams struct {
	server *Server
	port   int
	conn   *net.UDPConn

	mu      sync.Mutex
	clients map[netip.AddrPort]*client
	closed  bool
}

// client is who sends datagrams.
type client struct {
	from netip.AddrPort
	oob  []byte       // makes answers come from the address that was asked
	used atomic.Int64 // when it last said something or was told something
	said atomic.Int64 // datagrams

	table    *Table // that the endpoint was chosen by
	port     *upstream.Port
	endpoint *upstream.Endpoint // nil while there is none yet
	to       *net.UDPConn
	waiting  [][]byte
	cancel   context.CancelFunc
}

// listenUDP is called with mu held.
func (s *Server) listenUDP(port int) error {
	pc, err := listenConfig.ListenPacket(context.Background(), "udp", net.JoinHostPort(s.cfg.Host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("UDP port %d: %w", port, err)
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return fmt.Errorf("UDP port %d: %w", port, errors.ErrUnsupported)
	}
	// A node has several addresses, and a client takes answers only from the one
	// that it asked. Which of the two works depends on the socket's family.
	err6 := ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
	err4 := ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
	if err6 != nil && err4 != nil {
		_ = conn.Close()
		return fmt.Errorf("UDP port %d: %w", port, err4)
	}
	d := &datagrams{server: s, port: port, conn: conn, clients: map[netip.AddrPort]*client{}}
	s.udp[port] = d
	s.parts.Go(d.run)
	return nil
}

// run takes datagrams until the port is closed.
func (d *datagrams) run() {
	buf, oob := make([]byte, maxDatagram), make([]byte, 128)
	for {
		n, oobn, _, from, err := d.conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // about something that was sent before
		}
		d.take(from, oob[:oobn], buf[:n])
	}
}

// take sends a datagram on.
func (d *datagrams) take(from netip.AddrPort, oob, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	t := d.server.table.Load()
	c := d.clients[from]
	if c != nil && !c.keeps(t, d.port) {
		d.drop(c)
		c = nil
	}
	if c == nil {
		if c = d.meet(t, from, oob); c == nil {
			return
		}
	}
	c.used.Store(time.Now().UnixNano())
	c.said.Add(1)
	switch {
	case c.to != nil:
		_, _ = c.to.Write(data) // it may get lost, as any datagram may
	case len(c.waiting) < maxWaiting:
		c.waiting = append(c.waiting, slices.Clone(data))
	}
}

// keeps tells whether a client's endpoint is still one for it.
func (c *client) keeps(t *Table, port int) bool {
	if c.endpoint != nil && !slices.Contains(c.port.Endpoints(), c.endpoint) {
		return false
	}
	if c.table == t {
		return true
	}
	target := t.udp[port]
	if target == nil {
		return false
	}
	c.table = t
	for i := range target.Backends {
		if b := &target.Backends[i]; b.Port == c.port && b.Weight > 0 {
			return true
		}
	}
	return false
}

// meet gives a client an endpoint. It returns nil when there is none to be had.
// mu is held.
func (d *datagrams) meet(t *Table, from netip.AddrPort, oob []byte) *client {
	target := t.udp[d.port]
	if target == nil {
		return nil
	}
	backend := target.choose()
	if backend == nil || backend.Port == nil {
		return nil
	}
	if len(d.clients) >= maxClients {
		d.makeRoom()
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{from: from, oob: source(oob), table: t, port: backend.Port, cancel: cancel}
	d.clients[from] = c
	if e := backend.Port.Pick(rand.IntN, nil); e != nil {
		if !d.connect(c, e) {
			d.drop(c)
			return nil
		}
		return c
	}
	if backend.Port.Service.App() == "" {
		d.drop(c)
		return nil
	}
	d.server.parts.Go(func() { d.await(ctx, c) })
	return c
}

// makeRoom forgets a client: of some, the one that has been silent the longest.
// mu is held.
func (d *datagrams) makeRoom() {
	const some = 16
	var longest *client
	looked := 0
	for _, c := range d.clients { // which begins anywhere
		if longest == nil || c.used.Load() < longest.used.Load() {
			longest = c
		}
		if looked++; looked == some {
			break
		}
	}
	if longest != nil {
		d.drop(longest)
	}
}

// await connects a client when the App that it waits for has started.
func (d *datagrams) await(ctx context.Context, c *client) {
	err := d.server.hold.Wait(ctx, c.port)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.clients[c.from] != c {
		return
	}
	if err == nil {
		if e := c.port.Pick(rand.IntN, nil); e != nil && d.connect(c, e) {
			for _, data := range c.waiting {
				_, _ = c.to.Write(data)
			}
			c.waiting = nil
			return
		}
	}
	d.drop(c)
}

// connect gives a client an endpoint. mu is held.
func (d *datagrams) connect(c *client, e *upstream.Endpoint) bool {
	conn, err := net.Dial("udp", e.Addr)
	if err != nil {
		return false
	}
	to, ok := conn.(*net.UDPConn)
	if !ok {
		_ = conn.Close()
		return false
	}
	e.Begin()
	stats := &c.port.Service.Stats
	stats.InFlight.Add(1)
	c.endpoint, c.to = e, to
	c.used.Store(time.Now().UnixNano())
	d.server.parts.Go(func() {
		err := d.answers(c)
		stats.InFlight.Add(-1)
		e.Done()
		if err != nil {
			e.Failed()
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.drop(c)
	})
	return true
}

// drop forgets a client. mu is held.
func (d *datagrams) drop(c *client) {
	c.cancel()
	if c.to != nil {
		_ = c.to.Close()
	}
	if d.clients[c.from] == c {
		delete(d.clients, c.from)
	}
}

// close ends the port and its clients.
func (d *datagrams) close() {
	_ = d.conn.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, c := range d.clients {
		d.drop(c)
	}
}
