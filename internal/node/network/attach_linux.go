package network

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
)

// Attach gives a pod a namespace with an address, from the pool when that has
// one. It may be repeated with the same pod and then returns the same. When it
// returns, the pod's host ports lead to it.
func (n *Network) Attach(ctx context.Context, pod Pod) (Attachment, error) {
	a, err := n.attach(ctx, pod)
	if err != nil {
		return Attachment{}, fmt.Errorf("attach pod %s: %w", pod.called(), err)
	}
	return a, nil
}

func (n *Network) attach(ctx context.Context, pod Pod) (Attachment, error) {
	if _, err := recordFile(n.cfg.podsDir(), pod.ID); err != nil {
		return Attachment{}, err
	}
	defer n.keys.lock(pod.ID)()
	old, known := n.known(pod.ID)
	if known && n.intact(old) {
		return old.Attachment, nil
	}
	// The ports first: they are what most likely cannot be had.
	if err := n.claim(pod); err != nil {
		return Attachment{}, err
	}
	s, err := n.space(ctx, pod, old, known)
	if err != nil {
		n.rules.release(pod.ID)
		return Attachment{}, err
	}
	r := record{Pod: pod, Attachment: Attachment{
		NetNS:   s.path,
		Addr:    netip.PrefixFrom(s.addr, 32),
		Gateway: n.cfg.gateway(),
		MAC:     macOf(s.addr).String(),
	}}
	if err := n.settle(r); err != nil {
		n.forget(pod.ID)
		n.rules.release(pod.ID)
		n.bury(remains{path: s.path, addr: s.addr})
		return Attachment{}, err
	}
	return r.Attachment, nil
}

// settle makes the namespace the pod's: the record first, so that no crash can
// hand it out twice.
func (n *Network) settle(r record) error {
	if err := tuneAsAsked(r.NetNS, r.Sysctls); err != nil {
		return err
	}
	if err := writeRecord(n.cfg.podsDir(), r); err != nil {
		return fmt.Errorf("write down assignment: %w", err)
	}
	if len(r.Ports) > 0 {
		if err := n.openPorts(r); err != nil {
			return err
		}
	}
	if err := n.limit(r); err != nil {
		return err
	}
	n.mu.Lock()
	n.pods[r.ID] = r
	n.mu.Unlock()
	return nil
}

// space takes one from the pool or makes one. A pod whose namespace is gone gets
// a new one with its old address.
func (n *Network) space(ctx context.Context, pod Pod, old record, known bool) (space, error) {
	if known {
		return n.rebuild(ctx, pod, old)
	}
	if pod.NSPath != "" {
		select {
		case n.builds <- struct{}{}:
			defer func() { <-n.builds }()
			return n.fresh(pod.NSPath)
		case <-ctx.Done():
			return space{}, ctx.Err()
		}
	}
	select {
	case s := <-n.ready:
		n.refill()
		return s, nil
	default:
	}
	n.refill()
	select {
	case s := <-n.ready:
		return s, nil
	case n.builds <- struct{}{}:
		defer func() { <-n.builds }()
		return n.fresh("")
	case <-ctx.Done():
		return space{}, ctx.Err()
	}
}

// fresh makes a namespace with the next free address, or gives that to the one
// at the path given.
func (n *Network) fresh(given string) (space, error) {
	addr, err := n.nextAddr()
	if err != nil {
		return space{}, err
	}
	s, err := n.build.build(addr, given)
	if err != nil {
		n.addrs.free(addr)
	}
	return s, err
}

// nextAddr takes an address and writes down how far it is round the range, so
// that the walk goes on there after a restart. Not to have it written costs only
// the delay before an address is used again.
func (n *Network) nextAddr() (netip.Addr, error) {
	n.cursor.Lock()
	defer n.cursor.Unlock()
	addr, err := n.addrs.take()
	if err != nil {
		return addr, err
	}
	// In place, unlike all else: it is so often written that another file each
	// time would cost more than the address. A line of one length is there whole.
	if err := writeAt(n.cfg.cursorFile(), fmt.Appendf(nil, "%-15s\n", addr)); err != nil {
		n.log.Warn("the last address given out is not written down", "err", err)
	}
	return addr, nil
}

// intact tells whether a pod's namespace and link are still there.
func (n *Network) intact(r record) bool {
	if !pinned(r.NetNS) {
		return false
	}
	_, err := n.host.LinkByName(r.link())
	return err == nil
}

// rebuild makes a known pod a new namespace with its address.
func (n *Network) rebuild(ctx context.Context, pod Pod, old record) (space, error) {
	select {
	case n.builds <- struct{}{}:
		defer func() { <-n.builds }()
	case <-ctx.Done():
		return space{}, ctx.Err()
	}
	if link, err := n.host.LinkByName(old.link()); err == nil {
		if err := n.host.LinkDel(link); err != nil {
			return space{}, fmt.Errorf("remove the old link %s: %w", old.link(), err)
		}
	}
	if err := unpin(old.NetNS); err != nil {
		return space{}, err
	}
	return n.build.build(old.addr(), pod.NSPath)
}

// Detach takes a pod off the network and frees what it had in the background.
// Detach of an unknown pod is not an error.
func (n *Network) Detach(ctx context.Context, podID string) error {
	defer n.keys.lock(podID)()
	r, known := n.known(podID)
	if !known {
		return nil
	}
	// Forgotten first: should the process die here, Open finds a namespace that
	// belongs to no pod and removes it.
	if err := removeRecord(n.cfg.podsDir(), podID); err != nil {
		return fmt.Errorf("detach pod %s: %w", r.called(), err)
	}
	n.mu.Lock()
	delete(n.pods, podID)
	n.mu.Unlock()
	n.rules.release(podID)
	n.bury(remains{path: r.NetNS, addr: r.addr()})
	return nil
}

func (n *Network) known(id string) (record, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok := n.pods[id]
	return r, ok
}

// forget drops what was written down for nothing. A record that stays names a
// namespace about to go, and the next Attach of the pod makes it a new one.
func (n *Network) forget(id string) {
	n.mu.Lock()
	delete(n.pods, id)
	n.mu.Unlock()
	if err := removeRecord(n.cfg.podsDir(), id); err != nil {
		n.log.Warn("an assignment that failed stays written down", "pod", id, "err", err)
	}
}

// keyed is a lock for each key. The zero value is ready.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*keyLock
}

type keyLock struct {
	mu    sync.Mutex
	users int
}

// lock waits until nobody else holds the key and returns what lets go of it.
func (k *keyed) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*keyLock{}
	}
	l := k.locks[key]
	if l == nil {
		l = &keyLock{}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.mu.Lock()
	return func() {
		l.mu.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
	}
}
