package network

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/google/nftables"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// rules is the node's own nftables table: masquerading and host ports. What
// should be in it is kept here; apply brings the kernel up to that. Calls that
// wait for each other become one transaction, because each costs the kernel a
// grace period whatever its size.
type rules struct {
	cfg Config

	commit  sync.Mutex // one transaction at a time
	conn    *nftables.Conn
	unknown bool // what the table holds, after a transaction failed

	mu      sync.Mutex
	owners  map[hostPort]string   // claimed, by pod ID
	want    map[hostPort]target   // what should be in the table
	applied map[hostPort]target   // what is
	changed map[hostPort]struct{} // where the two may differ
}

// openRules reaches nf_tables in the namespace of home. The table is made by
// rebuild.
func openRules(cfg Config, home home) (*rules, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(home.fd()), nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nf_tables: %w", kernelLacks(err, "nf_tables (CONFIG_NF_TABLES, module nf_tables)"))
	}
	return &rules{
		cfg: cfg, conn: conn,
		owners: map[hostPort]string{}, want: map[hostPort]target{},
		applied: map[hostPort]target{}, changed: map[hostPort]struct{}{},
	}, nil
}

func (r *rules) close() {
	r.commit.Lock()
	defer r.commit.Unlock()
	r.conn.CloseLasting()
}

// claim makes ports the pod's, or tells whose one of them is.
func (r *rules) claim(pod string, ports map[hostPort]uint16, nameOf func(pod string) string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range ports {
		for other, owner := range r.owners {
			if owner != pod && p.conflicts(other) {
				return fmt.Errorf("host %s: taken by pod %s: %w", p, nameOf(owner), fault.Exists)
			}
		}
	}
	for p := range ports {
		r.owners[p] = pod
	}
	return nil
}

// point lets the ports that the pod has claimed lead to addr.
func (r *rules) point(ports map[hostPort]uint16, addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, podPort := range ports {
		r.want[p] = target{addr, podPort}
		r.changed[p] = struct{}{}
	}
}

// release lets go of all ports of a pod, with the next apply in the kernel.
func (r *rules) release(pod string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, owner := range r.owners {
		if owner == pod {
			delete(r.owners, p)
			delete(r.want, p)
			r.changed[p] = struct{}{}
		}
	}
}

// keep takes up a pod's ports as they were written down. They were checked when
// they were.
func (r *rules) keep(rec record) {
	ports, err := hostPorts(rec.Pod, nil)
	if err != nil {
		return
	}
	r.mu.Lock()
	for p := range ports {
		r.owners[p] = rec.ID
	}
	r.mu.Unlock()
	r.point(ports, rec.addr())
}

// apply brings the table up to what is wanted. Whoever waits for another's
// transaction often finds that it carried his changes too.
func (r *rules) apply() error {
	r.commit.Lock()
	defer r.commit.Unlock()
	if r.unknown {
		return r.rebuildLocked()
	}
	add, del, done := r.difference()
	if len(add) == 0 && len(del) == 0 {
		return nil
	}
	t := tablesOf(r.cfg)
	err := t.change(r.conn, add, del)
	if err == nil {
		done()
		return nil
	}
	// Most likely somebody flushed the ruleset under us.
	if again := r.rebuildLocked(); again != nil {
		return fmt.Errorf("set host ports: %w", errors.Join(err, again))
	}
	return nil
}

// difference returns what to add and delete, and done, which marks it applied.
func (r *rules) difference() (add, del map[hostPort]target, done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add, del = map[hostPort]target{}, map[hostPort]target{}
	seen := r.changed
	r.changed = map[hostPort]struct{}{}
	for p := range seen {
		want, wanted := r.want[p]
		have, had := r.applied[p]
		if had && (!wanted || want != have) {
			del[p] = have
		}
		if wanted && (!had || want != have) {
			add[p] = want
		}
	}
	return add, del, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for p := range del {
			delete(r.applied, p)
		}
		for p, t := range add {
			r.applied[p] = t
		}
	}
}

// rebuild replaces the whole table in one transaction: no packet meets half.
func (r *rules) rebuild() error {
	r.commit.Lock()
	defer r.commit.Unlock()
	return r.rebuildLocked()
}

func (r *rules) rebuildLocked() error {
	r.mu.Lock()
	all := make(map[hostPort]target, len(r.want))
	for p, t := range r.want {
		all[p] = t
	}
	r.changed = map[hostPort]struct{}{}
	r.mu.Unlock()
	err := tablesOf(r.cfg).replace(r.conn, all)
	r.unknown = err != nil
	if err != nil {
		return fmt.Errorf("nftables table %s: %w", r.cfg.Table, kernelLacks(err, "nf_tables with NAT (CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NFT_FIB_IPV4)"))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = all
	return nil
}

// whole tells whether the table is there with all its chains.
func (r *rules) whole() (bool, error) {
	r.commit.Lock()
	defer r.commit.Unlock()
	chains, err := r.conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, fmt.Errorf("list nftables chains: %w", err)
	}
	found := 0
	for _, c := range chains {
		if c.Table.Name == r.cfg.Table {
			found++
		}
	}
	return found == chainCount, nil
}
