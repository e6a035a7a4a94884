package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	api "github.com/sampan-cloud/sampan/api/catalog"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Register makes an instance known, or changes one that is, and counts as its
// heartbeat. What is wrong with it is told for all fields at once.
func (s *Store) Register(ctx context.Context, ref Ref, inst api.Instance) (out api.Instance, created bool, err error) {
	if err := s.cfg.complete(ref, &inst); err != nil {
		return inst, false, err
	}
	addrs, err := s.whereIs(ctx, inst.Address)
	if err != nil {
		return inst, false, &inputError{"address", err.Error(), fault.Invalid}
	}
	defer s.lock(ref)()
	have := s.entry(ref)
	if have == nil || !same(have.inst, inst) {
		written, err := s.put(ctx, ref, inst, have, addrs)
		if err != nil {
			return inst, false, err
		}
		s.observe(written)
		created = have == nil
	}
	e := s.entry(ref)
	if e == nil {
		return inst, false, fmt.Errorf("instance %s was removed while it was registered: %w", ref, fault.Unavailable)
	}
	s.alive(e, api.Heartbeat{})
	return e.told(s.now()), created, nil
}

// put writes an instance down, and its service.
func (s *Store) put(ctx context.Context, ref Ref, inst api.Instance, have *entry, addrs []netip.Addr) (*discoveryv1.EndpointSlice, error) {
	svc, err := s.ensureService(ctx, ref, inst, addrs[0])
	if err != nil {
		return nil, err
	}
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool {
		return a.Is4() != addrs[0].Is4() || svc.Spec.ClusterIP != corev1.ClusterIPNone && a.Is4() != s.cfg.ServiceCIDR.Addr().Is4()
	})
	status := &api.Status{State: firstState(inst), Since: s.now().UTC()}
	if have != nil && have.inst.Address == inst.Address && reflect.DeepEqual(have.inst.Ports, inst.Ports) && reflect.DeepEqual(have.inst.Check, inst.Check) {
		// Other words about the same process: its checks still count.
		if was := have.told(s.now()).Status; was.State == api.Ready || was.State == api.Failing {
			status = was
		}
	}
	o, err := slice(ref, inst, svc, addrs, status)
	if err != nil {
		return nil, err
	}
	client := s.kube.DiscoveryV1().EndpointSlices(ref.Namespace)
	for range 5 {
		written, err := client.Create(ctx, o, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return written, apiError(err)
		}
		old, err := client.Get(ctx, o.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, apiError(err)
		}
		if old.Labels[discoveryv1.LabelManagedBy] != api.ManagedBy {
			return nil, fmt.Errorf("EndpointSlice %s/%s is somebody else's: %w", o.Namespace, o.Name, fault.Exists)
		}
		if old.AddressType != o.AddressType || old.DeletionTimestamp != nil {
			// The family cannot be changed.
			if err := client.Delete(ctx, o.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return nil, apiError(err)
			}
			continue
		}
		next := o.DeepCopy()
		next.ResourceVersion, next.UID = old.ResourceVersion, old.UID
		if written, err = client.Update(ctx, next, metav1.UpdateOptions{}); !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return written, apiError(err)
		}
	}
	return nil, fmt.Errorf("instance %s is being changed by somebody else: %w", ref, fault.Unavailable)
}

// ensureService makes the Service of a name, or brings it to what the instance
// needs of it.
func (s *Store) ensureService(ctx context.Context, ref Ref, inst api.Instance, addr netip.Addr) (*corev1.Service, error) {
	var others []api.Instance
	for _, e := range s.of(ref.service()) {
		if e.ref != ref {
			others = append(others, e.inst)
		}
	}
	client := s.kube.CoreV1().Services(ref.Namespace)
	for range 5 {
		svc, err := client.Get(ctx, ref.Service, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, apiError(err)
		}
		missing := err != nil
		if !missing && !ours(svc) {
			return nil, &inputError{"name", fmt.Sprintf("Service %s belongs to %s: choose another name", ref.service(), ownerOf(svc)), fault.Exists}
		}
		headless := !missing && svc.Spec.ClusterIP == corev1.ClusterIPNone
		if inst.Headless != nil && !missing && *inst.Headless != headless {
			if len(others) > 0 {
				return nil, &inputError{"headless", fmt.Sprintf("is %t for the service's other instances", headless), fault.Exists}
			}
			// Whether it has an address cannot be changed.
			if err := client.Delete(ctx, ref.Service, metav1.DeleteOptions{Preconditions: exactly(svc.UID)}); err != nil && !apierrors.IsNotFound(err) {
				return nil, apiError(err)
			}
			continue
		}
		if missing && inst.Headless != nil {
			headless = *inst.Headless
		}
		if !headless && addr.Is4() != s.cfg.ServiceCIDR.Addr().Is4() {
			return nil, &inputError{"address", fmt.Sprintf("%s: Services have addresses of the other IP family here (%s): register the service as headless", addr, s.cfg.ServiceCIDR), fault.Invalid}
		}
		var now []corev1.ServicePort
		if !missing {
			now = svc.Spec.Ports
		}
		ports, err := servicePorts(now, others, inst)
		if err != nil {
			return nil, err
		}
		switch {
		case missing:
			svc, err = client.Create(ctx, newService(ref, headless, ports), metav1.CreateOptions{})
		case samePorts(now, ports):
		default:
			svc.Spec.Ports = ports
			svc, err = client.Update(ctx, svc, metav1.UpdateOptions{})
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return svc, apiError(err)
		}
	}
	return nil, fmt.Errorf("service %s is being changed by somebody else: %w", ref.service(), fault.Unavailable)
}

// whereIs returns the addresses behind an instance's address, those of the
// Services' family first.
func (s *Store) whereIs(ctx context.Context, address string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(address); err == nil {
		return []netip.Addr{a}, nil
	}
	found, err := s.resolve(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be resolved: %w", address, err)
	}
	var out []netip.Addr
	var refused error
	for _, a := range found {
		if err := s.cfg.allowed(a.Unmap()); err != nil {
			refused = err
			continue
		}
		out = append(out, a.Unmap())
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q leads nowhere: %w", address, refused)
	}
	slices.SortFunc(out, func(a, b netip.Addr) int {
		if a.Is4() != b.Is4() {
			if a.Is4() == s.cfg.ServiceCIDR.Addr().Is4() {
				return -1
			}
			return 1
		}
		return a.Compare(b)
	})
	return slices.Compact(out), nil
}

func same(a, b api.Instance) bool {
	a.Status, b.Status = nil, nil
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// samePorts compares what the catalog says of ports; the API adds the rest.
func samePorts(have, want []corev1.ServicePort) bool {
	return slices.EqualFunc(have, want, func(a, b corev1.ServicePort) bool {
		return a.Name == b.Name && a.Port == b.Port && a.Protocol == b.Protocol && reflect.DeepEqual(a.AppProtocol, b.AppProtocol)
	})
}

func exactly(uid types.UID) *metav1.Preconditions { return &metav1.Preconditions{UID: &uid} }

// apiError gives an error of the API its kind.
func apiError(err error) error {
	var status apierrors.APIStatus
	if err == nil || !errors.As(err, &status) {
		return err
	}
	for _, k := range []fault.Kind{fault.NotFound, fault.Exists, fault.Forbidden, fault.Timeout, fault.Unavailable} {
		if int(status.Status().Code) == k.HTTP() {
			return fmt.Errorf("%w: %w", err, k)
		}
	}
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return fmt.Errorf("%w: %w", err, fault.Invalid)
	}
	return err
}
