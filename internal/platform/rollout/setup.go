package rollout

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// Indexes of the cache: apps by the hosts that they ask for, and by the apps of
// their namespace that they need.
const (
	indexHost  = "host"
	indexNeeds = "needs"
)

func neededApps(o client.Object) []string {
	if app, ok := o.(*v1alpha1.App); ok {
		return needs(&app.Spec)
	}
	return nil
}

func (r *reconciler) hosts(o client.Object) []string {
	var out []string
	if app, ok := o.(*v1alpha1.App); ok {
		for _, c := range object.Claims(app, r.gateway) {
			out = append(out, c.Host)
		}
	}
	return out
}

// setup says what makes an app worth a look.
func (r *reconciler) setup(ctx context.Context, mgr manager.Manager, ticks chan event.TypedGenericEvent[*v1alpha1.App]) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.App{}, indexHost, r.hosts); err != nil {
		return err
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.App{}, indexNeeds, neededApps); err != nil {
		return err
	}
	skip := true // the name is used once in a process, but a test starts several
	ofApp := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return request(o.GetNamespace(), o.GetLabels()[v1alpha1.LabelApp])
	})
	tick := source.Channel(ticks, handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, a *v1alpha1.App) []reconcile.Request {
		return request(a.Namespace, a.Name)
	}))
	return ctrl.NewControllerManagedBy(mgr).Named("app").
		For(&v1alpha1.App{}).
		Watches(&v1alpha1.App{}, handler.EnqueueRequestsFromMapFunc(r.neighbours), builder.WithPredicates(matters())).
		Owns(&appsv1.Deployment{}).Owns(&appsv1.StatefulSet{}).Owns(&appsv1.DaemonSet{}).
		Owns(&batchv1.Job{}).Owns(&batchv1.CronJob{}).
		Owns(&corev1.Service{}).Owns(&gw.HTTPRoute{}).
		Watches(&corev1.Pod{}, ofApp).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.users(false))).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.users(true))).
		WatchesRawSource(tick).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8, SkipNameValidation: &skip}).
		Complete(r)
}

func request(namespace, name string) []reconcile.Request {
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}

// neighbours are the apps to which another app's change may matter: those that
// ask for one of its hosts, and those that depend on it.
func (r *reconciler) neighbours(ctx context.Context, o client.Object) []reconcile.Request {
	app, ok := o.(*v1alpha1.App)
	if !ok {
		return nil
	}
	var out []reconcile.Request
	for _, host := range r.hosts(app) {
		var same v1alpha1.AppList
		if err := r.List(ctx, &same, client.MatchingFields{indexHost: host}); err != nil {
			continue // the cache is stopping
		}
		for _, other := range same.Items {
			if other.UID != app.UID {
				out = append(out, request(other.Namespace, other.Name)...)
			}
		}
	}
	var near v1alpha1.AppList
	if err := r.List(ctx, &near, client.InNamespace(app.Namespace), client.MatchingFields{indexNeeds: app.Name}); err != nil {
		return out
	}
	for _, other := range near.Items {
		out = append(out, request(other.Namespace, other.Name)...)
	}
	for _, name := range needs(&app.Spec) {
		out = append(out, request(app.Namespace, name)...)
	}
	return out
}

// matters lets those changes of an app pass that its neighbours notice.
func matters() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*v1alpha1.App)
		after, ok2 := e.ObjectNew.(*v1alpha1.App)
		return ok1 && ok2 && (before.Generation != after.Generation || ready(before) != ready(after))
	}}
}

// users finds the apps that a ConfigMap or Secret configures.
func (r *reconciler) users(secret bool) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		var apps v1alpha1.AppList
		if err := r.List(ctx, &apps, client.InNamespace(o.GetNamespace())); err != nil {
			return nil // the cache is stopping
		}
		var out []reconcile.Request
		for _, a := range apps.Items {
			if secret && object.IsOwn(&a, o) {
				out = append(out, request(a.Namespace, a.Name)...)
			}
			frozen, live := object.Configuration(&a.Spec)
			for _, ref := range append(frozen, live...) {
				if ref.Name == o.GetName() && ref.Secret == secret {
					out = append(out, request(a.Namespace, a.Name)...)
				}
			}
		}
		return out
	}
}
