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

// refill tells the filler that the pool has room, and that a pod has come.
func (n *Network) refill() {
	n.asked.Store(time.Now().UnixNano())
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
		if !n.rest(ctx) {
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

// A filler rests while pods come in, so that it does not take processors and the
// kernel's lock over all links from what they are waiting for, unless the pool
// is nearly empty.
const (
	lull = 500 * time.Millisecond // after the last pod: its container is still to be started
	low  = 8                      // the part of the pool that is kept in any case
)

// rest waits a little if it is not yet time to add to the pool.
func (n *Network) rest(ctx context.Context) (enough bool) {
	quiet := time.Since(time.Unix(0, n.asked.Load()))
	if quiet >= lull || len(n.ready) <= cap(n.ready)/low {
		return true
	}
	select {
	case <-ctx.Done():
	case <-time.After(lull - quiet):
	}
	return false
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
