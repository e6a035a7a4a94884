package rollout

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// standsFor tells which of the gateway's names a Service stands for. Requests to
// an app go to the Services of its revisions, so that the one of the app's own
// name counts nothing itself and stands for them all. Any other is only itself.
func (m *meter) standsFor(ctx context.Context, namespace string, services []corev1.Service) (func(*corev1.Service) []string, error) {
	ask := types.NamespacedName{Namespace: namespace}
	for i := range services {
		switch {
		case !ofApp(&services[i]):
		case ask.Name == "":
			ask.Name = services[i].Name
		default:
			ask.Name = custom.AllObjects // one list rather than many questions
		}
	}
	of := map[string][]string{}
	if ask.Name != "" {
		apps := v1alpha1.AppList{Items: make([]v1alpha1.App, 1)}
		err := m.read(ctx, ask, &apps.Items[0], &apps, []client.ListOption{client.InNamespace(namespace)})
		if err != nil && !apierrors.IsNotFound(err) { // the app may just have gone
			return nil, fmt.Errorf("apps of %s: %w", namespace, err)
		}
		for i := range apps.Items {
			of[apps.Items[i].Name] = backends(&apps.Items[i])
		}
	}
	return func(s *corev1.Service) []string {
		if names := of[s.Name]; names != nil && ofApp(s) {
			return names
		}
		return []string{namespace + "/" + s.Name}
	}, nil
}

// ofApp says whether a Service is the one of an app's own name.
func ofApp(s *corev1.Service) bool {
	owner := metav1.GetControllerOf(s)
	return owner != nil && owner.Kind == "App" && owner.APIVersion == v1alpha1.GroupVersion.String() && owner.Name == s.Name
}
