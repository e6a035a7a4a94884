package catalog

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/sampan-cloud/sampan/api/catalog"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Beat is a heartbeat. Nothing is written unless it changes how the instance
// does.
func (s *Store) Beat(_ context.Context, ref Ref, b api.Heartbeat) error {
	e := s.entry(ref)
	if e == nil {
		return fmt.Errorf("instance %s: %w", ref, fault.NotFound)
	}
	s.alive(e, b)
	return nil
}

func (s *Store) alive(e *entry, b api.Heartbeat) {
	e.mu.Lock()
	defer e.mu.Unlock()
	was, until, now := e.health.state, e.health.expires, s.now()
	e.health.alive(b, now)
	// Who looks after it sleeps until the old deadline, and then sees the new one.
	if e.health.judge(now); e.health.state != was || e.health.expires.Before(until) {
		e.nudge()
	}
}

// Deregister takes an instance out, and its service with the last one.
func (s *Store) Deregister(ctx context.Context, ref Ref) error {
	defer s.lock(ref)()
	e := s.entry(ref)
	if e == nil {
		return fmt.Errorf("instance %s: %w", ref, fault.NotFound)
	}
	if err := s.drop(ctx, e); err != nil {
		return err
	}
	return s.tidy(ctx, ref.service())
}

// Remove takes a service and all its instances out.
func (s *Store) Remove(ctx context.Context, ref Ref) error {
	defer s.lock(ref)()
	svc, err := s.kube.CoreV1().Services(ref.Namespace).Get(ctx, ref.Service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("service %s: %w", ref, fault.NotFound)
	}
	if err != nil {
		return apiError(err)
	}
	if !ours(svc) {
		return &inputError{"name", fmt.Sprintf("Service %s belongs to %s, not to the catalog", ref, ownerOf(svc)), fault.Exists}
	}
	for _, e := range s.of(ref) {
		if err := s.drop(ctx, e); err != nil {
			return err
		}
	}
	return s.tidy(ctx, ref)
}

// forget takes an instance out that did not come back. If it comes back at this
// moment, it stays.
func (s *Store) forget(ctx context.Context, e *entry) (gone bool, err error) {
	defer s.lock(e.ref)()
	if _, forget, _, err := e.look(s.now()); err != nil || !forget {
		return false, err
	}
	if err := s.drop(ctx, e); err != nil {
		return false, err
	}
	// A service that stays without instances is found by the next sweep.
	return true, s.tidy(ctx, e.ref.service())
}

// drop deletes an instance's EndpointSlice.
func (s *Store) drop(ctx context.Context, e *entry) error {
	how := metav1.DeleteOptions{Preconditions: exactly(e.uid)}
	err := s.kube.DiscoveryV1().EndpointSlices(e.ref.Namespace).Delete(ctx, e.ref.sliceName(), how)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return apiError(err)
	}
	e.leave()
	s.watches.notify(e.ref)
	return nil
}

// tidy deletes a service of the catalog that has no instance. The lock of its
// changes is held.
func (s *Store) tidy(ctx context.Context, ref Ref) error {
	if len(s.of(ref)) > 0 {
		return nil
	}
	client := s.kube.CoreV1().Services(ref.Namespace)
	svc, err := client.Get(ctx, ref.Service, metav1.GetOptions{})
	if err == nil && ours(svc) {
		err = client.Delete(ctx, ref.Service, metav1.DeleteOptions{Preconditions: exactly(svc.UID)})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return apiError(err)
	}
	return nil
}
