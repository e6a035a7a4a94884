package rollout

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// former removes what apps of this name have left that are gone, and says how
// many objects are still there. now is the app that has the name today, if any.
//
// The cluster's garbage collector does so too, but it learns only every half
// minute that there is such a kind as App: in a young cluster an app that was
// deleted ran on, and one deployed again under its name waited for the name.
func (r *reconciler) former(ctx context.Context, at types.NamespacedName, now types.UID) (int, error) {
	left := 0
	for _, list := range []client.ObjectList{
		&appsv1.DeploymentList{}, &appsv1.StatefulSetList{}, &appsv1.DaemonSetList{}, &batchv1.JobList{}, &batchv1.CronJobList{},
		&corev1.ServiceList{}, &gw.HTTPRouteList{}, &appsv1.ControllerRevisionList{},
		&corev1.PersistentVolumeClaimList{}, &corev1.ConfigMapList{}, &corev1.SecretList{},
	} {
		if err := r.List(ctx, list, client.InNamespace(at.Namespace), client.MatchingLabels{v1alpha1.LabelApp: at.Name}); err != nil {
			return 0, err
		}
		all, err := meta.ExtractList(list)
		if err != nil {
			return 0, err
		}
		for _, one := range all {
			o, ok := one.(client.Object)
			if !ok || !ofFormer(o, at.Name, now) {
				continue
			}
			left++
			if err := r.remove(ctx, o); err != nil {
				return 0, fmt.Errorf("remove %s, left by an app that is gone: %w", o.GetName(), err)
			}
		}
	}
	return left, nil
}

// ofFormer says whether an app of this name, but not the present one, owns o.
func ofFormer(o client.Object, name string, now types.UID) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && owner.Kind == "App" && owner.Name == name && owner.UID != now &&
		owner.APIVersion == v1alpha1.GroupVersion.String()
}

// remove deletes an object as it was seen: one that has been given another
// owner meanwhile, or none, as when an app is deleted without what it owns,
// stays.
func (r *reconciler) remove(ctx context.Context, o client.Object) error {
	if o.GetDeletionTimestamp() != nil {
		return nil
	}
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := r.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground),
		client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
