package catalog

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/sampan-cloud/sampan/api/catalog"
	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// What the catalog writes on its objects. An EndpointSlice holds one instance,
// whole, so that registering is one write and a crash leaves it done or not.
const (
	labelManagedBy = "app.kubernetes.io/managed-by" // on Services
	instanceKey    = "catalog.sampan.dev/instance"  // annotation: the instance as it was registered
	statusKey      = "catalog.sampan.dev/status"    // annotation: its state when it last changed
)

// Ref names an instance, or with an empty ID a service.
type Ref struct{ Namespace, Service, ID string }

func (r Ref) service() Ref { return Ref{r.Namespace, r.Service, ""} }

func (r Ref) String() string {
	if r.ID == "" {
		return r.Namespace + "/" + r.Service
	}
	return r.Namespace + "/" + r.Service + "/" + r.ID
}

// sliceName is the name of an instance's EndpointSlice. Neither part has a dot
// in it, so that two instances never share one.
func (r Ref) sliceName() string { return r.Service + "." + r.ID }

// slice is the EndpointSlice of an instance. addrs are all of one family.
func slice(ref Ref, inst api.Instance, svc *corev1.Service, addrs []netip.Addr, status *api.Status) (*discoveryv1.EndpointSlice, error) {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ref.Namespace, Name: ref.sliceName(),
			Labels: map[string]string{
				discoveryv1.LabelServiceName: ref.Service,
				discoveryv1.LabelManagedBy:   api.ManagedBy,
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: svc.Name, UID: svc.UID}},
		},
		AddressType: family(addrs[0]),
	}
	for _, p := range inst.Ports {
		name, number, protocol := p.Name, int32(p.Port), corev1.Protocol(p.Protocol)
		port := discoveryv1.EndpointPort{Name: &name, Port: &number, Protocol: &protocol}
		if p.AppProtocol != "" {
			port.AppProtocol = &p.AppProtocol
		}
		s.Ports = append(s.Ports, port)
	}
	return s, describe(s, inst, addrs, status)
}

// describe writes how an instance is, and how it does, on its EndpointSlice.
func describe(s *discoveryv1.EndpointSlice, inst api.Instance, addrs []netip.Addr, status *api.Status) error {
	inst.Status = nil
	text, err := json.Marshal(inst)
	if err != nil {
		return err
	}
	kept := *status
	kept.Expires, kept.Addresses = nil, nil // heartbeats are not written down
	state, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[instanceKey], s.Annotations[statusKey] = string(text), string(state)
	ready, ending := status.State == api.Ready, false
	s.Endpoints = nil
	for _, a := range addrs {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{a.String()}, Hostname: &inst.ID,
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready, Terminating: &ending},
		})
	}
	return nil
}

// read is the other way: what an EndpointSlice of the catalog says.
func read(s *discoveryv1.EndpointSlice) (Ref, api.Instance, *api.Status, error) {
	ref := Ref{Namespace: s.Namespace, Service: s.Labels[discoveryv1.LabelServiceName]}
	var inst api.Instance
	if err := json.Unmarshal([]byte(s.Annotations[instanceKey]), &inst); err != nil {
		return ref, inst, nil, fmt.Errorf("annotation %s: %w: %w", instanceKey, err, fault.Corrupt)
	}
	ref.ID = inst.ID
	if ref.sliceName() != s.Name || len(inst.Ports) == 0 {
		return ref, inst, nil, fmt.Errorf("annotation %s does not belong to it: %w", instanceKey, fault.Corrupt)
	}
	status := &api.Status{}
	if err := json.Unmarshal([]byte(s.Annotations[statusKey]), status); err != nil {
		return ref, inst, nil, fmt.Errorf("annotation %s: %w: %w", statusKey, err, fault.Corrupt)
	}
	return ref, inst, status, nil
}

// addresses are those in an EndpointSlice.
func addresses(s *discoveryv1.EndpointSlice) []netip.Addr {
	var out []netip.Addr
	for _, e := range s.Endpoints {
		for _, a := range e.Addresses {
			if addr, err := netip.ParseAddr(a); err == nil {
				out = append(out, addr)
			}
		}
	}
	return out
}

func family(a netip.Addr) discoveryv1.AddressType {
	if a.Is4() {
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}

// newService is the Service of a name that has none yet. It selects nothing:
// its endpoints are those that are registered.
func newService(ref Ref, headless bool, ports []corev1.ServicePort) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Service, Labels: map[string]string{labelManagedBy: api.ManagedBy}},
		Spec:       corev1.ServiceSpec{Ports: ports},
	}
	if headless {
		s.Spec.ClusterIP = corev1.ClusterIPNone
	}
	return s
}

// ours tells whether a Service is the catalog's own.
func ours(s *corev1.Service) bool {
	return s.Labels[labelManagedBy] == api.ManagedBy && len(s.Spec.Selector) == 0
}

// ownerOf says whose a Service is, as its users call them.
func ownerOf(s *corev1.Service) string {
	if app := s.Labels[v1alpha1.LabelApp]; app != "" {
		return "the App " + app
	}
	if o := metav1.GetControllerOf(s); o != nil {
		return "the " + o.Kind + " " + o.Name
	}
	if by := s.Labels[labelManagedBy]; by != "" {
		return by
	}
	for _, f := range s.ManagedFields {
		return "somebody else (made with " + f.Manager + ")"
	}
	return "somebody else"
}

// servicePorts are the ports of a service: of its other instances, whose numbers
// stay, and of the one that is registered now.
func servicePorts(have []corev1.ServicePort, others []api.Instance, inst api.Instance) ([]corev1.ServicePort, error) {
	in := &input{}
	var out []corev1.ServicePort
	number := func(name string) *corev1.ServicePort {
		if i := slices.IndexFunc(have, func(p corev1.ServicePort) bool { return p.Name == name }); i >= 0 {
			return &have[i]
		}
		return nil
	}
	add := func(p api.Port, field string, fixed bool) {
		at := p.ServicePort
		if at == 0 {
			at = p.Port
		}
		now := corev1.ServicePort{Name: p.Name, Port: int32(at), Protocol: corev1.Protocol(p.Protocol)}
		if p.AppProtocol != "" {
			now.AppProtocol = &p.AppProtocol
		}
		if old := number(p.Name); old != nil && fixed {
			now.Port, now.AppProtocol = old.Port, old.AppProtocol
		}
		if i := slices.IndexFunc(out, func(o corev1.ServicePort) bool { return o.Name == p.Name }); i >= 0 {
			switch o := out[i]; {
			case fixed:
			case p.ServicePort != 0 && int32(p.ServicePort) != o.Port:
				in.taken(field+"servicePort", "%d: other instances have it at %d", p.ServicePort, o.Port)
			case string(o.Protocol) != p.Protocol:
				in.taken(field+"protocol", "%s: other instances speak %s", p.Protocol, o.Protocol)
			}
			return
		}
		if i := slices.IndexFunc(out, func(o corev1.ServicePort) bool { return o.Port == now.Port && o.Protocol == now.Protocol }); i >= 0 {
			in.taken(field+"servicePort", "%d is that of port %q already", now.Port, out[i].Name)
		}
		out = append(out, now)
	}
	for _, o := range others {
		for _, p := range o.Ports {
			add(p, "", true)
		}
	}
	for i, p := range inst.Ports {
		add(p, fmt.Sprintf("ports[%d].", i), false)
	}
	if len(out) > 1 {
		if i := slices.IndexFunc(out, func(p corev1.ServicePort) bool { return p.Name == "" }); i >= 0 {
			in.taken("ports", "the service has several, of which each needs a name; %d has none", out[i].Port)
		}
	}
	if len(in.errs) > 0 {
		return nil, in.errs[0]
	}
	return out, nil
}

// taken says that a field contradicts what is there.
func (in *input) taken(field, format string, args ...any) {
	in.errs = append(in.errs, &inputError{field, fmt.Sprintf(format, args...), fault.Exists})
}
