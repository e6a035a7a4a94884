package network

import (
	"context"
	"sync"
	"time"
)

// Run fills the pool, removes what detached pods leave and puts back what
// others take away. It is ready at once: pods may be attached without it, more
// slowly.
func (n *Network) Run(ctx context.Context, ready func()) error {
	var work sync.WaitGroup
	work.Go(func() { n.fill(ctx) })
	work.Go(func() { n.undertake(ctx) })
	work.Go(func() { n.watch(ctx) })
	ready()
	work.Wait()
	return nil
}

// refill tells the filler that the pool has room.
func (n *Network) refill() {
	select {
	case n.taken <- struct{}{}:
	default:
	}
}

// fill keeps the pool full, half of what may be built at once at a time: the
// other half is for pods that find the pool empty.
func (n *Network) fill(ctx context.Context) {
	var work sync.WaitGroup
	for range parallel / 2 {
		work.Go(func() { n.filler(ctx) })
	}
	work.Wait()
}

func (n *Network) filler(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		if len(n.ready) == cap(n.ready) {
			select {
			case <-ctx.Done():
			case <-n.taken:
			}
			continue
		}
		err := n.addOne(ctx)
		if err != nil {
			if !failing {
				n.log.Warn("the pool of network namespaces is not full", "ready", len(n.ready), "err", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
		}
		failing = err != nil
	}
}

// addOne puts one namespace into the pool. When the pool has become full
// meanwhile, the namespace is not wasted: it waits for room.
func (n *Network) addOne(ctx context.Context) error {
	select {
	case n.builds <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	s, err := n.fresh("")
	<-n.builds
	if err != nil {
		return err
	}
	select {
	case n.ready <- s:
	case <-ctx.Done():
		n.bury(remains{path: s.path, addr: s.addr})
	}
	return nil
}

// undertake removes what detached pods leave, all that has come together at a
// time.
func (n *Network) undertake(ctx context.Context) {
	var waiting []remains
	for {
		var again <-chan time.Time
		if len(waiting) > 0 {
			again = time.After(50 * time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return
		case <-n.gone:
		case <-again:
		}
		waiting = n.reap(waiting)
	}
}

// watch puts the bridge and the rules back when something else has removed
// them: a firewall that reloads flushes every table.
func (n *Network) watch(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := n.repair(); err != nil {
				n.log.Error("the pods' network is damaged and could not be repaired", "err", err)
			}
		}
	}
}
