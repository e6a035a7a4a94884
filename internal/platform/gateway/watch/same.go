package watch

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// same tells whether a change of an object can make no difference to the table.
func same(before, after metav1.Object) bool {
	if before.GetResourceVersion() == after.GetResourceVersion() {
		return true
	}
	if !maps.Equal(before.GetLabels(), after.GetLabels()) || !maps.Equal(before.GetAnnotations(), after.GetAnnotations()) {
		return false
	}
	switch b := before.(type) {
	case *corev1.Node:
		a, ok := after.(*corev1.Node)
		return ok && equality.Semantic.DeepEqual(b.Status.Addresses, a.Status.Addresses)
	case *corev1.Namespace:
		return true
	case *corev1.Service: // without a generation
		a, ok := after.(*corev1.Service)
		return ok && equality.Semantic.DeepEqual(b.Spec, a.Spec)
	case *corev1.ConfigMap:
		a, ok := after.(*corev1.ConfigMap)
		return ok && b.Data["ca.crt"] == a.Data["ca.crt"]
	case *corev1.Secret:
		a, ok := after.(*corev1.Secret)
		return ok && equality.Semantic.DeepEqual(b.Data, a.Data)
	}
	return before.GetGeneration() != 0 && before.GetGeneration() == after.GetGeneration() && before.GetUID() == after.GetUID()
}
