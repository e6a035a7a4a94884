package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Network joins the pods of a node to each other, to the node and to the
// outside. Its methods may be called at the same time.
type Network struct {
	cfg   Config
	log   *slog.Logger
	home  home
	host  *netlink.Handle
	build *builder
	addrs *ipam
	rules *rules
	keys  keyed // one operation a pod at a time

	ready   chan space    // the pool
	taken   chan struct{} // tells the filler that the pool has room
	builds  chan struct{} // as many as may be built at once
	gone    chan struct{} // tells the reaper that there is something to do
	closing sync.Once
	asked   atomic.Int64 // when a pod was last attached, in Unix nanoseconds
	cursor  sync.Mutex   // from taking an address to writing it down

	mu   sync.Mutex
	pods map[string]record
	dead []remains
}

// parallel is how many namespaces are made at once. More only queue for the
// kernel's one lock over all links.
const parallel = 4

// Open finds what an earlier process of this node left, or makes the bridge and
// the tables, and refuses ranges that the machine already uses. It works in the
// network namespace of the calling thread.
func Open(cfg Config, log *slog.Logger) (*Network, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := mayAdminister(); err != nil {
		return nil, err
	}
	for _, dir := range []string{cfg.Dir, cfg.podsDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("network: %w", err)
		}
	}
	n := &Network{
		cfg:    cfg,
		log:    log,
		ready:  make(chan space, cfg.Pool),
		taken:  make(chan struct{}, 1),
		builds: make(chan struct{}, parallel),
		gone:   make(chan struct{}, 1),
	}
	if err := n.open(); err != nil {
		n.Close()
		return nil, fmt.Errorf("network: %w", err)
	}
	return n, nil
}

func (n *Network) open() (err error) {
	if n.home, err = openHome(); err != nil {
		return err
	}
	if n.host, err = netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER); err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	if err := collisions(n.host, n.cfg); err != nil {
		return err
	}
	if n.pods, err = readRecords(n.cfg.podsDir()); err != nil {
		return err
	}
	for id, r := range n.pods {
		if n.cfg.Prefix.Contains(r.addr()) {
			continue
		}
		if pinned(r.NetNS) {
			return fmt.Errorf("network.podCIDR %s: pod %s still has %s: set it back, or take the node down before changing it: %w",
				n.cfg.Prefix, r.called(), r.addr(), fault.Precondition)
		}
		// Its namespace is gone already.
		if err := removeRecord(n.cfg.podsDir(), id); err != nil {
			return err
		}
		delete(n.pods, id)
	}
	// Up to here nothing has been changed.
	mtu := n.cfg.MTU
	if mtu == 0 {
		mtu = defaultMTU(n.host)
	}
	bridge, err := ensureBridge(n.host, n.cfg, mtu)
	if err != nil {
		return err
	}
	if err := n.tuneHost(); err != nil {
		return err
	}
	n.build = &builder{host: n.host, dir: n.cfg.NSDir, mtu: mtu, gateway: n.cfg.gateway()}
	n.build.bridge.Store(int64(bridge))
	last, _ := os.ReadFile(n.cfg.cursorFile())
	cursor, _ := netip.ParseAddr(strings.TrimSpace(string(last))) // none: start at the range's beginning
	n.addrs = newIPAM(n.cfg.Prefix, cursor)
	if err := n.takeStock(); err != nil {
		return err
	}
	if n.rules, err = openRules(n.cfg, n.home); err != nil {
		return err
	}
	for _, r := range n.pods {
		n.rules.keep(r)
	}
	if err := n.rules.rebuild(); err != nil {
		return err
	}
	if err := n.rules.warnOfFirewall(n.log); err != nil {
		n.log.Warn("whether a firewall blocks pods is not known", "err", err)
	}
	return nil
}

// tuneHost sets what pods need of the whole node.
func (n *Network) tuneHost() error {
	others, err := otherBridges(n.host, n.cfg)
	if err != nil {
		return err
	}
	return n.home.do(func() error { return setSysctls(n.cfg, others) })
}

// takeStock compares the assignments with the namespaces and ports that exist.
// What belongs to no pod is queued for removal, also what was in the pool: it
// may have been handed out and given back just before the end.
func (n *Network) takeStock() error {
	paths, err := pins(n.cfg.NSDir)
	if err != nil {
		return err
	}
	mine := make(map[string]bool, len(n.pods))
	for id, r := range n.pods {
		n.addrs.keep(r.addr())
		mine[r.NetNS], mine[r.link()] = true, true
		if !pinned(r.NetNS) {
			n.log.Warn("a pod's network namespace is gone and will be made anew when it asks", "pod", id, "netns", r.NetNS)
		}
	}
	for _, path := range paths {
		if !mine[path] {
			n.bury(remains{path: path, addr: pinAddr(path)})
		}
	}
	links, err := ports(n.host, int(n.build.bridge.Load()))
	if err != nil {
		return err
	}
	for _, l := range links {
		addr, ok := portAddr(l.Attrs().Name)
		if ok && !mine[l.Attrs().Name] {
			n.bury(remains{addr: addr})
		}
	}
	shaping, err := shapers(n.host, n.cfg.Prefix)
	if err != nil {
		return err
	}
	for addr := range shaping {
		if !mine[linkOf(addr)] {
			n.bury(remains{addr: addr})
		}
	}
	return nil
}

// Close lets go of the kernel's handles. Pods stay connected.
func (n *Network) Close() {
	n.closing.Do(func() {
		if n.rules != nil {
			n.rules.close()
		}
		if n.host != nil {
			n.host.Close()
		}
		if n.home.file != nil {
			n.home.file.Close()
		}
	})
}

// Sweep detaches every pod that is not among known. The engine calls it once it
// has found its own pods again.
func (n *Network) Sweep(ctx context.Context, known []string) error {
	keep := make(map[string]bool, len(known))
	for _, id := range known {
		keep[id] = true
	}
	var errs []error
	for id := range n.Pods() {
		if !keep[id] {
			n.log.Info("detaching a pod that the engine does not know", "pod", id)
			errs = append(errs, n.Detach(ctx, id))
		}
	}
	return errors.Join(errs...)
}

// Pods returns the attached pods by ID.
func (n *Network) Pods() map[string]Attachment {
	n.mu.Lock()
	defer n.mu.Unlock()
	pods := make(map[string]Attachment, len(n.pods))
	for id, r := range n.pods {
		pods[id] = r.Attachment
	}
	return pods
}

// mayAdminister tells in one line what would otherwise fail in many places.
func mayAdminister() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("network: read own capabilities: %w", err)
	}
	for _, c := range []struct {
		bit  uint
		name string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}} {
		if data[0].Effective&(1<<c.bit) == 0 {
			return fmt.Errorf("network: making bridges and namespaces needs %s: run as root: %w", c.name, fault.Forbidden)
		}
	}
	return nil
}
