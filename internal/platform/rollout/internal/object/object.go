// Package object makes the ordinary Kubernetes objects of an App.
//
// Everything here is a function of an App, of one of its revisions and of a few
// numbers. Nothing reads the cluster, so a test compares what goes in with what
// comes out.
package object

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// Labels of every object of an app; revision may be empty.
func Labels(app *v1alpha1.App, revision string) map[string]string {
	l := map[string]string{"app.kubernetes.io/name": app.Name, "app.kubernetes.io/managed-by": "sampan", v1alpha1.LabelApp: app.Name}
	if revision != "" {
		l[v1alpha1.LabelRevision] = revision
	}
	return l
}

// Selector chooses the pods of a revision.
func Selector(app *v1alpha1.App, revision string) map[string]string {
	return map[string]string{v1alpha1.LabelApp: app.Name, v1alpha1.LabelRevision: revision}
}

// meta is the metadata of an object that the app owns.
func meta(app *v1alpha1.App, name, revision string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: app.Namespace, Labels: Labels(app, revision),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(app, v1alpha1.GroupVersion.WithKind("App"))},
	}
}

// RevisionName is the name of an app's n-th revision.
func RevisionName(n int64) string { return "r" + strconv.FormatInt(n, 10) }

// Name is the name of what belongs to one revision of an app.
func Name(app *v1alpha1.App, revision string) string { return app.Name + "-" + revision }

// Stateful says whether each copy has volumes of its own.
func Stateful(spec *v1alpha1.AppSpec) bool {
	return slices.ContainsFunc(spec.Volumes, func(v v1alpha1.Volume) bool { return v.Size != nil && !v.Shared })
}

// InPlace says whether each copy has a place of its own, a volume or a node, so
// that a new one takes the place of an old one.
func InPlace(spec *v1alpha1.AppSpec) bool { return spec.PerNode || Stateful(spec) }

// Serves says whether the app runs on and may be scaled.
func Serves(spec *v1alpha1.AppSpec) bool {
	return spec.Kind == v1alpha1.Service || spec.Kind == v1alpha1.Worker || spec.Kind == ""
}

// WebPort is the first port that speaks HTTP, and nil if there is none.
func WebPort(spec *v1alpha1.AppSpec) *v1alpha1.Port {
	if spec.Kind != v1alpha1.Service && spec.Kind != "" {
		return nil
	}
	for i, p := range spec.Ports {
		if web(p.Protocol) {
			return &spec.Ports[i]
		}
	}
	return nil
}

func web(p v1alpha1.Protocol) bool {
	return p == v1alpha1.HTTP || p == v1alpha1.H2C || p == v1alpha1.GRPC || p == ""
}

// PortName is the name by which a port is found.
func PortName(p v1alpha1.Port) string {
	if p.Name != "" {
		return p.Name
	}
	return "p" + strconv.Itoa(int(p.Port))
}

// FindPort is the port with this name or number, and the first when name is empty.
func FindPort(ports []v1alpha1.Port, name string) *v1alpha1.Port {
	for i, p := range ports {
		if name == "" || PortName(p) == name || strconv.Itoa(int(p.Port)) == name {
			return &ports[i]
		}
	}
	return nil
}

func transport(p v1alpha1.Protocol) corev1.Protocol {
	if p == v1alpha1.UDP {
		return corev1.ProtocolUDP
	}
	return corev1.ProtocolTCP
}
