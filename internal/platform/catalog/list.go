package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	api "github.com/sampan-cloud/sampan/api/catalog"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Services returns what is registered in a namespace, or in all when it is
// empty, by namespace and name.
func (s *Store) Services(namespace string) []api.Service {
	out := []api.Service{}
	for _, o := range s.services.GetStore().List() {
		if svc, ok := o.(*corev1.Service); ok && (namespace == "" || svc.Namespace == namespace) && ours(svc) {
			out = append(out, s.service(svc))
		}
	}
	slices.SortFunc(out, func(a, b api.Service) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return out
}

// Service returns a service that is registered.
func (s *Store) Service(ref Ref) (api.Service, error) {
	o, ok, err := s.services.GetStore().GetByKey(ref.service().String())
	if svc, isService := o.(*corev1.Service); err == nil && ok && isService && ours(svc) {
		return s.service(svc), nil
	}
	return api.Service{}, fmt.Errorf("service %s: %w", ref.service(), fault.NotFound)
}

// Instance returns an instance that is registered.
func (s *Store) Instance(ref Ref) (api.Instance, error) {
	e := s.entry(ref)
	if e == nil {
		return api.Instance{}, fmt.Errorf("instance %s: %w", ref, fault.NotFound)
	}
	return e.told(s.now()), nil
}

func (s *Store) service(svc *corev1.Service) api.Service {
	out := api.Service{
		Namespace: svc.Namespace, Name: svc.Name, Address: svc.Spec.ClusterIP,
		Headless: svc.Spec.ClusterIP == corev1.ClusterIPNone, Ports: []api.Port{}, Instances: []api.Instance{},
	}
	if out.Headless {
		out.Address = ""
	}
	for _, p := range svc.Spec.Ports {
		port := api.Port{Name: p.Name, Port: int(p.Port), Protocol: string(p.Protocol)}
		if p.AppProtocol != nil {
			port.AppProtocol = *p.AppProtocol
		}
		out.Ports = append(out.Ports, port)
	}
	for _, e := range s.of(Ref{svc.Namespace, svc.Name, ""}) {
		out.Instances = append(out.Instances, e.told(s.now()))
	}
	return out
}
