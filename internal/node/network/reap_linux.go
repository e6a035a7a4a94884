package network

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// remains is what a pod leaves: a pinned namespace, a port of the bridge and an
// address that nobody may have before the other two are gone.
type remains struct {
	path string // empty once unpinned
	addr netip.Addr
	till time.Time // when the kernel has had enough time to remove the port itself
}

// patience is how long the kernel may take to end an unpinned namespace, and
// its links with it, before the port is deleted by hand. The kernel removes
// many at once; by hand each costs a grace period of 14 to 36 ms.
const patience = 3 * time.Second

// bury queues remains for removal. Their address stays in use until then.
func (n *Network) bury(r remains) {
	if r.addr.IsValid() {
		n.addrs.keep(r.addr)
	}
	n.mu.Lock()
	n.dead = append(n.dead, r)
	n.mu.Unlock()
	select {
	case n.gone <- struct{}{}:
	default:
	}
}

// reap removes what is queued and returns what the kernel is not done with.
func (n *Network) reap(waiting []remains) []remains {
	n.mu.Lock()
	dead := n.dead
	n.dead = nil
	n.mu.Unlock()
	if len(dead) > 0 {
		if err := n.rules.apply(); err != nil {
			n.log.Warn("host ports of removed pods stay open for now", "err", err)
		}
	}
	left := waiting[:0]
	for _, r := range append(waiting, dead...) {
		if r.path != "" {
			if err := unpin(r.path); err != nil {
				n.log.Warn("a pod's network namespace stays for now", "netns", r.path, "err", err)
				left = append(left, r)
				continue
			}
			r.path, r.till = "", time.Now().Add(patience)
		}
		if !n.removed(r) {
			left = append(left, r)
		}
	}
	return left
}

// removed tells whether the remains are gone for good, and frees the address.
func (n *Network) removed(r remains) bool {
	if !r.addr.IsValid() {
		return true
	}
	link, err := n.host.LinkByName(linkOf(r.addr))
	if err == nil && time.Now().After(r.till) {
		// Something still holds the namespace. It loses its link all the same.
		err = n.host.LinkDel(link)
		if err == nil {
			_, err = n.host.LinkByName(linkOf(r.addr))
		}
	}
	if !errors.As(err, &netlink.LinkNotFoundError{}) {
		return false
	}
	if shaper, err := n.host.LinkByName(ifbOf(r.addr)); err == nil && n.host.LinkDel(shaper) != nil {
		return false
	}
	// The entry may be missing already: then there is nothing to delete.
	_ = n.host.NeighDel(n.build.onBridge(r.addr))
	n.addrs.free(r.addr)
	return true
}

// pinAddr reads the address out of a pin's name; it is not valid when the name
// is not one of ours.
func pinAddr(path string) netip.Addr {
	name, _, _ := strings.Cut(filepath.Base(path), "-")
	addr, _ := netip.ParseAddr(name)
	return addr
}
