package rollout

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, gw.Install} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("rollout: %w", err)
		}
	}
	return s, nil
}

// cacheOptions keeps in memory what belongs to apps and nothing else: of a
// cluster with ten thousand other pods, not one. ConfigMaps and Secrets are
// kept without their content.
func cacheOptions(namespace string) cache.Options {
	ours := cache.ByObject{Label: must(labels.NewRequirement(v1alpha1.LabelApp, selection.Exists, nil))}
	others := cache.ByObject{Label: must(labels.NewRequirement(v1alpha1.LabelApp, selection.DoesNotExist, nil))}
	o := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&appsv1.Deployment{}: ours, &appsv1.StatefulSet{}: ours, &appsv1.DaemonSet{}: ours, &appsv1.ControllerRevision{}: ours,
			&batchv1.Job{}: ours, &batchv1.CronJob{}: ours, &corev1.Service{}: ours, &gw.HTTPRoute{}: ours,
			&corev1.PersistentVolumeClaim{}: ours,
			&corev1.Pod{}:                   {Label: ours.Label, Transform: slimPod},
			&corev1.Node{}:                  {Transform: slimNode},
			metadataOf("ConfigMap"):         others, metadataOf("Secret"): others,
		},
	}
	if namespace != "" {
		o.DefaultNamespaces = map[string]cache.Config{namespace: {}}
	}
	return o
}

// clientOptions reads ConfigMaps and Secrets from the server, where their
// content is.
func clientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.ConfigMap{}, &corev1.Secret{}}}}
}

func must(r *labels.Requirement, err error) labels.Selector {
	if err != nil {
		panic(err) // the label's name is a constant
	}
	return labels.NewSelector().Add(*r)
}

func metadataOf(kind string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return m
}

// slimPod keeps of a pod what says how it does.
func slimPod(obj any) (any, error) {
	if p, ok := obj.(*corev1.Pod); ok {
		p.ManagedFields = nil
		p.Spec = corev1.PodSpec{NodeName: p.Spec.NodeName}
	}
	return obj, nil
}

// slimNode keeps of a node what fits on it.
func slimNode(obj any) (any, error) {
	if n, ok := obj.(*corev1.Node); ok {
		n.ManagedFields = nil
		n.Status = corev1.NodeStatus{Allocatable: n.Status.Allocatable}
	}
	return obj, nil
}
