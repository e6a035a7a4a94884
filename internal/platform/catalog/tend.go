package catalog

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/sampan-cloud/sampan/api/catalog"
)

// Pauses before a write is tried again that the API did not take.
const (
	firstPause   = 20 * time.Millisecond
	longestPause = 5 * time.Second
)

// tend looks after an entry until it is no more: it writes down how the
// instance does whenever that changes.
func (s *Store) tend(ctx context.Context, e *entry) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	if e.inst.Check != nil {
		group.Go(func() { s.check(ctx, e) })
	}
	if _, err := netip.ParseAddr(e.inst.Address); err != nil {
		group.Go(func() { s.follow(ctx, e) })
	}
	log := s.log.With("instance", e.ref)
	pause, was := firstPause, e.told(s.now()).Status.State
	for {
		now := s.now()
		unwritten, forget, next, err := e.look(now)
		switch {
		case err != nil:
		case forget:
			var gone bool
			if gone, err = s.forget(ctx, e); gone {
				log.Info("instance forgotten, it did not come back")
				return
			}
		case unwritten != nil:
			if is := e.told(now).Status; is.State != was {
				log.Info("instance is "+string(is.State), "was", was, "why", is.Message)
				was = is.State
				s.watches.notify(e.ref)
			}
			err = s.write(ctx, e, unwritten)
		}
		wait := time.Duration(-1)
		switch {
		case err != nil || unwritten != nil || forget:
			// Written or not, it is looked at again: somebody else may write too.
			wait, pause = pause, min(2*pause, longestPause)
			if err != nil && pause > time.Second && ctx.Err() == nil {
				log.Warn("instance's state cannot be written, trying again", "in", wait, "err", err)
			}
		case !next.IsZero():
			wait, pause = next.Sub(now), firstPause
		default:
			pause = firstPause
		}
		if !sleep(ctx, e, wait) {
			return
		}
	}
}

// sleep waits, for ever when d is negative, until something happens to the
// entry. It returns false when it is no more.
func sleep(ctx context.Context, e *entry, d time.Duration) bool {
	var timer <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-e.done:
		return false
	case <-e.kick:
	case <-timer:
	}
	return true
}

// write brings an instance's EndpointSlice up to date.
func (s *Store) write(ctx context.Context, e *entry, o *discoveryv1.EndpointSlice) error {
	client := s.kube.DiscoveryV1().EndpointSlices(o.Namespace)
	written, err := client.Update(ctx, o, metav1.UpdateOptions{})
	switch {
	case apierrors.IsConflict(err):
		if written, err = client.Get(ctx, o.Name, metav1.GetOptions{}); err == nil {
			s.observe(written)
		}
	case err == nil:
		s.observe(written)
	}
	if apierrors.IsNotFound(err) {
		s.vanished(o)
		return nil
	}
	return err
}

// check asks the instance how it is, at its interval. After a restart the first
// checks of all instances are spread over it.
func (s *Store) check(ctx context.Context, e *entry) {
	c := e.inst.Check
	wait := time.Duration(0)
	if e.told(s.now()).Status.State != api.Checking {
		wait = rand.N(time.Duration(c.Interval))
	}
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		began := s.now()
		err := s.probeOnce(ctx, e)
		if ctx.Err() != nil {
			return
		}
		e.mu.Lock()
		e.health.checked(err)
		e.mu.Unlock()
		e.nudge()
		wait = max(time.Duration(c.Interval)-s.now().Sub(began), 0)
	}
}

// probeOnce checks the instance, at each of its addresses until one does well.
func (s *Store) probeOnce(ctx context.Context, e *entry) (err error) {
	select {
	case s.probing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.probing }()
	e.mu.Lock()
	addrs := e.addrs
	e.mu.Unlock()
	for _, a := range addrs {
		if err = s.prober.probe(ctx, e.inst.Check, a); err == nil {
			return nil
		}
	}
	return err
}

// follow asks where a DNS name leads now.
func (s *Store) follow(ctx context.Context, e *entry) {
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if addrs, err := s.whereIs(ctx, e.inst.Address); err == nil {
			e.moved(addrs)
		}
	}
}
