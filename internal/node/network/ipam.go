package network

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// ipam knows which addresses of a range are in use. It walks the range round:
// an address that was just freed is the last to be given out again.
type ipam struct {
	prefix netip.Prefix
	mu     sync.Mutex
	last   netip.Addr // given out last
	used   map[netip.Addr]bool
}

// newIPAM starts after last, which may be zero or of another range.
func newIPAM(prefix netip.Prefix, last netip.Addr) *ipam {
	prefix = prefix.Masked()
	if !prefix.Contains(last) {
		last = prefix.Addr().Next()
	}
	return &ipam{prefix: prefix, last: last, used: map[netip.Addr]bool{}}
}

// take gives out the next free address.
func (p *ipam) take() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.used) >= p.size() {
		return netip.Addr{}, fmt.Errorf("pod range %s: all %d addresses are in use: %w", p.prefix, p.size(), fault.Exhausted)
	}
	a := p.last
	for {
		a = a.Next()
		// The last address of the range is its broadcast address: never given out.
		if next := a.Next(); !next.IsValid() || !p.prefix.Contains(next) {
			a = p.prefix.Addr().Next().Next()
		}
		if !p.used[a] {
			p.used[a] = true
			p.last = a
			return a, nil
		}
	}
}

// size is how many pods the range has room for: all but the range's own
// address, the gateway and the broadcast address.
func (p *ipam) size() int { return 1<<(32-p.prefix.Bits()) - 3 }

// keep marks an address as in use.
func (p *ipam) keep(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Only what take could give out counts: size does not include the others.
	first := p.prefix.Addr().Next().Next()
	if p.prefix.Contains(a) && p.prefix.Contains(a.Next()) && !a.Less(first) {
		p.used[a] = true
	}
}

// free gives an address back. Repeating it is not an error.
func (p *ipam) free(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, a)
}

func (p *ipam) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.used)
}

// macOf derives a link's hardware address from its IP address, so that whoever
// still remembers the one for the other is right.
func macOf(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}
}

// The node's links of a pod are named after its address, so that a link tells
// whose it is without any record: a prefix and the address in hexadecimal.
const (
	portPrefix   = "sp" // the port of the bridge
	shaperPrefix = "si" // the ifb that limits what the pod sends
)

func linkOf(a netip.Addr) string { return hexName(portPrefix, a) }
func ifbOf(a netip.Addr) string  { return hexName(shaperPrefix, a) }

func hexName(prefix string, a netip.Addr) string {
	b := a.As4()
	return prefix + hex.EncodeToString(b[:])
}

// portAddr reads the address out of a port's name.
func portAddr(link string) (netip.Addr, bool) { return namedAddr(portPrefix, link) }

func namedAddr(prefix, link string) (netip.Addr, bool) {
	digits, ok := strings.CutPrefix(link, prefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b)), true
}
