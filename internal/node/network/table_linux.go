package network

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tables is the node's nftables table in the kernel's terms. As nft prints it:
//
//	table ip NAME {
//	  map ports    { type inet_proto . inet_service : ipv4_addr . inet_service }
//	  map portsAt  { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service }
//	  set self     { type ipv4_addr . ipv4_addr }
//	  chain guard       { type filter hook prerouting priority raw
//	                      iifname BRIDGE ip daddr 127.0.0.0/8 drop }
//	  chain prerouting  { type nat hook prerouting priority dstnat
//	                      fib daddr type local jump hostports }
//	  chain output      { type nat hook output priority dstnat
//	                      fib daddr type local jump hostports }
//	  chain hostports   { dnat to meta l4proto . ip daddr . th dport map @portsAt
//	                      dnat to meta l4proto . th dport map @ports }
//	  chain postrouting { type nat hook postrouting priority srcnat
//	                      ip saddr 127.0.0.0/8 oifname BRIDGE masquerade
//	                      ip saddr . ip daddr @self masquerade
//	                      ip saddr PODS ip daddr { not masqueraded } return
//	                      ip saddr PODS masquerade fully-random }
//	}
//
// There is no chain that accepts forwarded packets: in nftables an accept ends
// only its own table, and cannot outvote a firewall that drops them.
type tables struct {
	cfg           Config
	table         *nftables.Table
	ports, portAt *nftables.Set
	self          *nftables.Set
}

// chainCount is how many chains the table has when it is whole.
const chainCount = 5

func tablesOf(cfg Config) tables {
	t := tables{cfg: cfg, table: &nftables.Table{Family: nftables.TableFamilyIPv4, Name: cfg.Table}}
	place := nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	t.ports = &nftables.Set{Table: t.table, Name: "ports", ID: 1, IsMap: true, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService), DataType: place}
	t.portAt = &nftables.Set{Table: t.table, Name: "portsAt", ID: 2, IsMap: true, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeIPAddr, nftables.TypeInetService), DataType: place}
	t.self = &nftables.Set{Table: t.table, Name: "self", ID: 3, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr)}
	return t
}

// replace makes the table anew with these ports, in one transaction.
func (t tables) replace(c *nftables.Conn, ports map[hostPort]target) error {
	t.remove(c)
	c.AddTable(t.table)
	for _, s := range []*nftables.Set{t.ports, t.portAt, t.self} {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	t.addChains(c)
	return t.change(c, ports, nil)
}

// remove deletes the table. Adding it first makes that no error when it is not
// there.
func (t tables) remove(c *nftables.Conn) {
	c.AddTable(t.table)
	c.DelTable(t.table)
}

func (t tables) addChains(c *nftables.Conn) {
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Table: t.table, Name: name, Type: kind, Hooknum: hook, Priority: priority})
	}
	rule := func(chain *nftables.Chain, parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: t.table, Chain: chain, Exprs: all})
	}
	loopback := netip.MustParsePrefix("127.0.0.0/8")

	// route_localnet, needed for host ports at 127.0.0.1, would let pods reach
	// whatever listens on the node's loopback only (CVE-2020-8558). Before
	// connection tracking: answers to the node are not yet translated back.
	guard := base("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	rule(guard, fromLink(t.cfg.Bridge), to(loopback), verdict(expr.VerdictDrop, ""))

	hostports := c.AddChain(&nftables.Chain{Table: t.table, Name: "hostports"})
	rule(hostports, lookupPort(t.portAt, true), dnat())
	rule(hostports, lookupPort(t.ports, false), dnat())
	for _, hook := range []struct {
		name string
		hook *nftables.ChainHook
	}{{"prerouting", nftables.ChainHookPrerouting}, {"output", nftables.ChainHookOutput}} {
		chain := base(hook.name, nftables.ChainTypeNAT, hook.hook, nftables.ChainPriorityNATDest)
		rule(chain, toThisHost(), verdict(expr.VerdictJump, "hostports"))
	}

	post := base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	// A pod cannot answer 127.0.0.1 of the host.
	rule(post, from(loopback), toLink(t.cfg.Bridge), masquerade(false))
	// A pod that reached itself through a host port would not take its own
	// address for the answer's sender.
	rule(post, bothIn(t.self), masquerade(false))
	for _, p := range t.cfg.direct() {
		rule(post, from(t.cfg.Prefix), to(p), verdict(expr.VerdictReturn, ""))
	}
	rule(post, from(t.cfg.Prefix), masquerade(true))
}

// direct lists where pods are seen with their own address.
func (c Config) direct() []netip.Prefix {
	all := []netip.Prefix{c.Prefix, netip.MustParsePrefix("224.0.0.0/4")}
	if c.Services.IsValid() && c.Services.Addr().Is4() {
		all = append(all, c.Services)
	}
	for _, p := range c.NoMasquerade {
		// While there is one node, its range is the cluster's.
		if p.Addr().Is4() && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// batch is how many elements go into one message: a netlink attribute holds 64 KiB.
const batch = 400

// change adds and deletes elements in one transaction, deletions first: a port
// may go from one pod to another.
func (t tables) change(c *nftables.Conn, add, del map[hostPort]target) error {
	if err := t.elements(del, false, c.SetDeleteElements); err != nil {
		return err
	}
	if err := t.elements(add, true, c.SetAddElements); err != nil {
		return err
	}
	return c.Flush()
}

func (t tables) elements(ports map[hostPort]target, adding bool, do func(*nftables.Set, []nftables.SetElement) error) error {
	of := map[*nftables.Set][]nftables.SetElement{}
	hairpins := map[netip.Addr]bool{}
	for p, to := range ports {
		set := t.ports
		if p.addr.IsValid() {
			set = t.portAt
		}
		e := nftables.SetElement{Key: p.key()}
		if adding {
			e.Val = append(to.addr.AsSlice(), padded(binary.BigEndian.AppendUint16(nil, to.port))...)
		}
		of[set] = append(of[set], e)
		hairpins[to.addr] = true
	}
	for addr := range hairpins {
		of[t.self] = append(of[t.self], nftables.SetElement{Key: append(addr.AsSlice(), addr.AsSlice()...)})
	}
	for _, set := range []*nftables.Set{t.ports, t.portAt, t.self} {
		for all := of[set]; len(all) > 0; {
			n := min(batch, len(all))
			if err := do(set, all[:n]); err != nil {
				return err
			}
			all = all[n:]
		}
	}
	return nil
}

// key is the port as the maps have it: each part in four bytes of its own.
func (h hostPort) key() []byte {
	key := padded([]byte{h.protocol})
	if h.addr.IsValid() {
		key = append(key, h.addr.AsSlice()...)
	}
	return append(key, padded(binary.BigEndian.AppendUint16(nil, h.port))...)
}

func padded(b []byte) []byte { return append(b, make([]byte, 4-len(b))...) }

// The rest are nft's words in the kernel's expressions. Register 1 is the first
// sixteen bytes; 8 and up are the same bytes in fours.

func fromLink(name string) []expr.Any { return link(expr.MetaKeyIIFNAME, name) }
func toLink(name string) []expr.Any   { return link(expr.MetaKeyOIFNAME, name) }

func link(key expr.MetaKey, name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)},
	}
}

const (
	sourceOffset      = 12 // in an IPv4 header
	destinationOffset = 16
)

func from(p netip.Prefix) []expr.Any { return inPrefix(sourceOffset, p) }
func to(p netip.Prefix) []expr.Any   { return inPrefix(destinationOffset, p) }

func inPrefix(offset uint32, p netip.Prefix) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: ipNet(p).Mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func toThisHost() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// lookupPort finds a packet's host port and leaves where it leads in register 1.
func lookupPort(set *nftables.Set, withAddr bool) []expr.Any {
	exprs := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 8}}
	next := uint32(9)
	if withAddr {
		exprs = append(exprs, &expr.Payload{DestRegister: next, Base: expr.PayloadBaseNetworkHeader, Offset: destinationOffset, Len: 4})
		next++
	}
	return append(exprs,
		&expr.Payload{DestRegister: next, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: 8, DestRegister: 1, IsDestRegSet: true, SetName: set.Name, SetID: set.ID})
}

// dnat sends the packet to the address and port that lookupPort has left.
func dnat() []expr.Any {
	return []expr.Any{&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 8, RegProtoMin: 9, Specified: true}}
}

// bothIn finds the packet's two addresses in a set of pairs.
func bothIn(set *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 8, Base: expr.PayloadBaseNetworkHeader, Offset: sourceOffset, Len: 4},
		&expr.Payload{DestRegister: 9, Base: expr.PayloadBaseNetworkHeader, Offset: destinationOffset, Len: 4},
		&expr.Lookup{SourceRegister: 8, SetName: set.Name, SetID: set.ID},
	}
}

func masquerade(random bool) []expr.Any { return []expr.Any{&expr.Masq{FullyRandom: random}} }

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}
