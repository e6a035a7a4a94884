package watch

import (
	"cmp"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/upstream"
)

// service learns what a Service says of itself.
func (w *Watcher) service(s *corev1.Service) {
	svc := w.set.Service(s.Namespace + "/" + s.Name)
	svc.SetApp(s.Labels[labelApp])
	w.endpoints(svc.Key)
}

// endpoints learns who serves the ports of a Service now.
func (w *Watcher) endpoints(key string) {
	svc := w.set.Service(key)
	ports := svc.Ports()
	if len(ports) == 0 {
		return // nobody has asked; who does learns it then
	}
	object := get[corev1.Service](w.kube.Core().V1().Services().Informer(), key)
	found, _ := w.kube.Discovery().V1().EndpointSlices().Informer().GetIndexer().ByIndex(bySvc, key)
	var slices []*discoveryv1.EndpointSlice
	for _, o := range found {
		slices = append(slices, o.(*discoveryv1.EndpointSlice))
	}
	for _, p := range ports {
		p.SetAddrs(addrs(object, slices, p))
	}
}

// addrs are the addresses that serve a port. When none is ready, those that are
// about to end and still serve are better than nothing, as kube-proxy has it;
// of an App that can be woken a new copy is better still. Copies that are not
// ready yet are starting, where to take a connection is all that readiness means.
func addrs(svc *corev1.Service, from []*discoveryv1.EndpointSlice, p *upstream.Port) (ready, starting []string) {
	if svc == nil {
		return nil, nil
	}
	name, ok := portName(svc, p)
	if !ok {
		return nil, nil
	}
	early := svc.Annotations[annotationListening] != ""
	var ending []string
	for _, s := range from {
		if s.AddressType == discoveryv1.AddressTypeFQDN || !oneFamily(svc, s) {
			continue
		}
		for _, port := range s.Ports {
			if port.Port == nil || port.Name == nil && name != "" || port.Name != nil && *port.Name != name {
				continue
			}
			for i := range s.Endpoints {
				e := &s.Endpoints[i]
				if len(e.Addresses) == 0 {
					continue
				}
				addr := net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*port.Port)))
				switch c := e.Conditions; {
				case c.Ready == nil || *c.Ready:
					ready = append(ready, addr)
				case c.Serving != nil && *c.Serving:
					ending = append(ending, addr)
				case early && (c.Terminating == nil || !*c.Terminating):
					starting = append(starting, addr)
				}
			}
		}
	}
	if len(ready) == 0 && p.Service.App() == "" {
		ready = ending
	}
	slices.Sort(ready)
	return slices.Compact(ready), starting
}

// oneFamily leaves out the second address of a pod that has two.
func oneFamily(svc *corev1.Service, s *discoveryv1.EndpointSlice) bool {
	return len(svc.Spec.IPFamilies) == 0 || string(svc.Spec.IPFamilies[0]) == string(s.AddressType)
}

// portName is what a port is called by its Service's slices. One number may be
// that of a port of TCP and of another of UDP.
func portName(svc *corev1.Service, port *upstream.Port) (string, bool) {
	transport := corev1.ProtocolTCP
	if port.Protocol == upstream.UDP {
		transport = corev1.ProtocolUDP
	}
	for _, p := range svc.Spec.Ports {
		if int(p.Port) == port.Number && cmp.Or(p.Protocol, corev1.ProtocolTCP) == transport {
			return p.Name, true
		}
	}
	return "", false
}
