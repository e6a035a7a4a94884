package catalog

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/sampan-cloud/sampan/api/catalog"
)

// entry is one registration of an instance that is looked after. Registering
// it anew with other words makes another entry.
type entry struct {
	ref  Ref
	uid  types.UID // of its EndpointSlice
	inst api.Instance
	kick chan struct{} // something has happened
	done chan struct{} // closed when it is no more

	mu     sync.Mutex
	slice  *discoveryv1.EndpointSlice // as last seen
	health *health
	addrs  []netip.Addr
	gone   bool // it was deleted, and the watch has not said so yet
}

func newEntry(ref Ref, inst api.Instance, status *api.Status, o *discoveryv1.EndpointSlice, now time.Time) *entry {
	e := &entry{
		ref: ref, uid: o.UID, inst: inst, kick: make(chan struct{}, 1), done: make(chan struct{}),
		slice: o, addrs: addresses(o),
	}
	e.health = newHealth(inst, status, now)
	return e
}

// nudge has whoever looks after the entry look at it.
func (e *entry) nudge() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// learn takes a later state of the EndpointSlice in, and tells whether it is
// another registration.
func (e *entry) learn(o *discoveryv1.EndpointSlice) (another bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !newer(o, e.slice) || e.gone && e.uid == o.UID {
		return false
	}
	if e.uid != o.UID || o.Annotations[instanceKey] != e.slice.Annotations[instanceKey] {
		return true
	}
	e.slice = o
	e.nudge()
	return false
}

func (e *entry) isGone() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone
}

// leave marks it as deleted.
func (e *entry) leave() {
	e.mu.Lock()
	e.gone = true
	e.mu.Unlock()
}

// look judges how the instance does. unwritten is the EndpointSlice as it should
// be, if it is not so; next is when to look again.
func (e *entry) look(now time.Time) (unwritten *discoveryv1.EndpointSlice, forget bool, next time.Time, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.health.judge(now)
	if at := e.health.forgotten(); !at.IsZero() && !now.Before(at) {
		return nil, true, time.Time{}, nil
	}
	next = e.health.next(now)
	want := e.slice.DeepCopy()
	if err := describe(want, e.inst, e.addrs, e.health.status()); err != nil {
		return nil, false, next, err
	}
	_, _, written, err := read(e.slice)
	if err == nil && written.State == e.health.state && equality.Semantic.DeepEqual(want.Endpoints, e.slice.Endpoints) {
		return nil, false, next, nil
	}
	return want, false, next, nil
}

// moved takes the addresses in that a DNS name has now. Those of another family
// cannot be in the same EndpointSlice; none at all is more likely a resolver in
// trouble than a service that is gone, which its check would tell.
func (e *entry) moved(addrs []netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return family(a) != e.slice.AddressType })
	if len(addrs) == 0 || slices.Equal(addrs, e.addrs) {
		return
	}
	e.addrs = addrs
	e.nudge()
}

// told is the instance with its status, as users see it.
func (e *entry) told(now time.Time) api.Instance {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.health.judge(now)
	out := e.inst
	out.Status = e.health.status()
	if _, err := netip.ParseAddr(out.Address); err != nil {
		for _, a := range e.addrs {
			out.Status.Addresses = append(out.Status.Addresses, a.String())
		}
	}
	return out
}
