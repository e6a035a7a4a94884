package object

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// PeersName is the name under which the copies of a stateful app find each other.
func PeersName(app *v1alpha1.App) string { return app.Name + "-peers" }

// LiveService is the app's own name: the revision that serves, or every copy
// where they are replaced in their places.
func LiveService(app *v1alpha1.App, r Revision) *corev1.Service {
	selector := Selector(app, r.Name)
	if InPlace(&r.Spec) {
		selector = map[string]string{v1alpha1.LabelApp: app.Name}
	}
	return &corev1.Service{
		ObjectMeta: meta(app, app.Name, ""),
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Ports: servicePorts(&r.Spec), Selector: selector},
	}
}

// RevisionService is one revision, for the gateway, which asks for its
// endpoints and needs no address.
func RevisionService(app *v1alpha1.App, r Revision) *corev1.Service {
	m := meta(app, Name(app, r.Name), r.Name)
	if h := r.Spec.Health; h.Readiness == nil && h.Startup == nil {
		m.Annotations = map[string]string{v1alpha1.AnnotationListening: "true"}
	}
	return &corev1.Service{
		ObjectMeta: m,
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: servicePorts(&r.Spec), Selector: Selector(app, r.Name)},
	}
}

// PeersService gives each copy of a stateful app a name of its own.
func PeersService(app *v1alpha1.App, r Revision) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: meta(app, PeersName(app), ""),
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, Ports: servicePorts(&r.Spec),
			Selector: map[string]string{v1alpha1.LabelApp: app.Name}, PublishNotReadyAddresses: true,
		},
	}
}

func servicePorts(spec *v1alpha1.AppSpec) []corev1.ServicePort {
	var out []corev1.ServicePort
	for _, p := range spec.Ports {
		sp := corev1.ServicePort{Name: PortName(p), Port: p.Port, TargetPort: intstr.FromInt32(p.Port), Protocol: transport(p.Protocol)}
		if p.Protocol == v1alpha1.H2C || p.Protocol == v1alpha1.GRPC {
			h2c := "kubernetes.io/h2c"
			sp.AppProtocol = &h2c
		}
		out = append(out, sp)
	}
	return out
}
