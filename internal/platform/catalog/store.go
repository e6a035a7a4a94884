package catalog

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	api "github.com/sampan-cloud/sampan/api/catalog"
)

// Store keeps what is registered in the objects of a cluster, and looks after
// it while Run runs. All methods may be called at once.
type Store struct {
	cfg     Config
	kube    kubernetes.Interface
	log     *slog.Logger
	prober  prober
	resolve func(ctx context.Context, name string) ([]netip.Addr, error)
	now     func() time.Time

	services cache.SharedIndexInformer // the catalog's own Services
	slices   cache.SharedIndexInformer // and EndpointSlices
	started  chan *entry
	closed   chan struct{}
	probing  chan struct{} // bounds the checks at once
	watches  watches

	// writing makes changes to one service follow one another.
	writing [64]sync.Mutex
	seed    maphash.Seed

	mu      sync.Mutex
	entries map[Ref]*entry
}

// probesAtOnce bounds open connections, not speed: a check of a machine that is
// away takes its whole timeout.
const probesAtOnce = 256

// NewStore makes a store on a cluster. It knows nothing before Run.
func NewStore(cfg Config, kube kubernetes.Interface, log *slog.Logger) *Store {
	s := &Store{
		cfg: cfg, kube: kube, log: log, resolve: lookup, now: time.Now,
		prober:  prober{dial: (&net.Dialer{}).DialContext},
		started: make(chan *entry), closed: make(chan struct{}), probing: make(chan struct{}, probesAtOnce),
		seed: maphash.MakeSeed(), entries: map[Ref]*entry{},
	}
	only := func(selector string) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = selector
		}))
	}
	s.services = only(labelManagedBy + "=" + api.ManagedBy).Core().V1().Services().Informer()
	s.slices = only(discoveryv1.LabelManagedBy + "=" + api.ManagedBy).Discovery().V1().EndpointSlices().Informer()
	return s
}

// sweepEvery is how often services are looked for that have lost their last
// instance without us.
const sweepEvery = time.Minute

// Run looks after all instances until ctx ends. It may be called once.
func (s *Store) Run(ctx context.Context, ready func()) error {
	var group sync.WaitGroup
	defer group.Wait()
	defer close(s.closed)
	group.Go(func() {
		for {
			select {
			case e := <-s.started:
				group.Go(func() { s.tend(ctx, e) })
			case <-ctx.Done():
				return
			}
		}
	})
	if _, err := s.slices.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { s.observe(o.(*discoveryv1.EndpointSlice)) },
		UpdateFunc: func(_, o any) { s.observe(o.(*discoveryv1.EndpointSlice)) },
		DeleteFunc: func(o any) {
			if t, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = t.Obj
			}
			s.vanished(o.(*discoveryv1.EndpointSlice))
		},
	}); err != nil {
		return err
	}
	notify := func(o any) {
		if svc, ok := o.(*corev1.Service); ok {
			s.watches.notify(Ref{svc.Namespace, svc.Name, ""})
		}
	}
	if _, err := s.services.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: notify, UpdateFunc: func(_, o any) { notify(o) }, DeleteFunc: notify,
	}); err != nil {
		return err
	}
	for _, i := range []cache.SharedIndexInformer{s.services, s.slices} {
		group.Go(func() { i.RunWithContext(ctx) })
	}
	if !cache.WaitFor(ctx, "", s.services.HasSyncedChecker(), s.slices.HasSyncedChecker()) {
		return nil
	}
	// The handlers are told a moment after the caches know.
	for _, o := range s.slices.GetStore().List() {
		s.observe(o.(*discoveryv1.EndpointSlice))
	}
	ready()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		s.sweep(ctx)
		select {
		case <-sweep.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep takes away services without instances: one whose registration was
// interrupted, or whose EndpointSlices somebody has deleted.
func (s *Store) sweep(ctx context.Context) {
	for _, o := range s.services.GetStore().List() {
		svc := o.(*corev1.Service)
		ref := Ref{svc.Namespace, svc.Name, ""}
		if s.now().Sub(svc.CreationTimestamp.Time) < sweepEvery || len(s.of(ref)) > 0 {
			continue
		}
		unlock := s.lock(ref)
		err := s.tidy(ctx, ref)
		unlock()
		if err != nil && ctx.Err() == nil {
			s.log.Warn("service without instances cannot be removed", "service", ref, "err", err)
		}
	}
}

// lock lets one change of a service happen at a time.
func (s *Store) lock(ref Ref) (unlock func()) {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.WriteString(ref.service().String())
	m := &s.writing[h.Sum64()%uint64(len(s.writing))]
	m.Lock()
	return m.Unlock
}

// observe learns of an EndpointSlice, from a watch or from a write of our own,
// whichever comes first.
func (s *Store) observe(o *discoveryv1.EndpointSlice) {
	ref, inst, status, err := read(o)
	if err != nil {
		s.log.Warn("EndpointSlice of the catalog cannot be read, left alone", "slice", o.Namespace+"/"+o.Name, "err", err)
		return
	}
	fresh := newEntry(ref, inst, status, o, s.now())
	s.mu.Lock()
	e := s.entries[ref]
	if e != nil && !e.learn(o) {
		s.mu.Unlock()
		return
	}
	if e != nil {
		close(e.done)
	}
	s.entries[ref] = fresh
	s.mu.Unlock()
	s.watches.notify(ref)
	select {
	case s.started <- fresh:
	case <-s.closed:
	}
}

// vanished learns that an EndpointSlice is no more.
func (s *Store) vanished(o *discoveryv1.EndpointSlice) {
	ref, _, _, err := read(o)
	if err != nil {
		return // we never knew it
	}
	s.mu.Lock()
	if e := s.entries[ref]; e != nil && e.uid == o.UID {
		close(e.done)
		delete(s.entries, ref)
	}
	s.mu.Unlock()
	s.watches.notify(ref)
}

// entry returns an instance that is registered, or nil.
func (s *Store) entry(ref Ref) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[ref]; e != nil && !e.isGone() {
		return e
	}
	return nil
}

// of returns the instances of a service, by ID.
func (s *Store) of(service Ref) []*entry {
	var out []*entry
	s.mu.Lock()
	for ref, e := range s.entries {
		if ref.service() == service && !e.isGone() {
			out = append(out, e)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b *entry) int { return strings.Compare(a.ref.ID, b.ref.ID) })
	return out
}

// newer tells whether an object is a later one than another. Versions that
// cannot be compared tell nothing, and then what comes last is.
func newer(a, b *discoveryv1.EndpointSlice) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err != nil || order > 0
}
