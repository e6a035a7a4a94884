package rollout

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

func isExists(err error) bool { return errors.Is(err, fault.Exists) }

// deployments are the app's, by revision.
func (p *pass) deployments(ctx context.Context) (map[string]*appsv1.Deployment, error) {
	var list appsv1.DeploymentList
	if err := p.List(ctx, &list, owned(p.app)...); err != nil {
		return nil, err
	}
	out := map[string]*appsv1.Deployment{}
	for i := range list.Items {
		d := &list.Items[i]
		if metav1.IsControlledBy(d, p.app) && d.DeletionTimestamp == nil {
			out[d.Labels[v1alpha1.LabelRevision]] = d
		}
	}
	return out, nil
}

// replicas is what a Deployment asks for; none when there is none.
func replicas(d *appsv1.Deployment) int32 {
	if d == nil || d.Spec.Replicas == nil {
		return 0
	}
	return *d.Spec.Replicas
}

// foreign tells an object that the cache does not know yet from one that is
// somebody else's.
func (p *pass) foreign(ctx context.Context, o client.Object, name string, exists error) error {
	if err := p.direct.Get(ctx, types.NamespacedName{Namespace: p.app.Namespace, Name: name}, o); err != nil {
		return err
	}
	if metav1.IsControlledBy(o, p.app) {
		return exists
	}
	o.SetName(name)
	return taken(o)
}

// addresses are the ports of the apps of the namespace.
func (p *pass) addresses(ctx context.Context) (object.Addresses, error) {
	var near v1alpha1.AppList
	if err := p.List(ctx, &near, inNamespace(p.app)); err != nil {
		return nil, err
	}
	out := object.Addresses{}
	for _, a := range near.Items {
		out[a.Name] = a.Spec.Ports
	}
	return out, nil
}

// route gives each revision its share of the traffic, and the app's own name
// to the live one.
func (p *pass) route(ctx context.Context, shares []object.Share) error {
	live := p.revision(p.app.Status.Live)
	if live == nil {
		return nil
	}
	if len(live.Spec.Ports) > 0 {
		if err := p.ensure(ctx, object.LiveService(p.app, *live)); err != nil {
			return err
		}
	} else if err := p.removeService(ctx, p.app.Name); err != nil {
		return err
	}
	t := object.Traffic{Shares: shares}
	if ro := p.app.Spec.Rollout; ro != nil {
		t.Sticky = ro.Sticky
		if shipping(p.app) && p.app.Status.Rollout.Phase == v1alpha1.PhaseWatching {
			t.Match, t.Matched = ro.Match, p.app.Status.Rollout.Revision
		}
	}
	lost, err := p.claims(ctx)
	if err != nil {
		return err
	}
	routes, err := object.Routes(p.app, p.gateway, t, func(c object.Claim) bool { return lost[c] })
	if err != nil {
		p.wrong(v1alpha1.ReasonInvalid, err.Error())
		return nil
	}
	wanted := map[string]bool{}
	for _, route := range routes {
		wanted[route.Name] = true
		if err := p.ensure(ctx, route); err != nil {
			return err
		}
	}
	var there gw.HTTPRouteList
	if err := p.List(ctx, &there, owned(p.app)...); err != nil {
		return err
	}
	for i := range there.Items {
		h := &there.Items[i]
		if !wanted[h.Name] && metav1.IsControlledBy(h, p.app) {
			if err := p.Delete(ctx, h); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
	}
	return nil
}

// removeService removes a Service of the app, if it is there.
func (p *pass) removeService(ctx context.Context, name string) error {
	var s corev1.Service
	err := p.Get(ctx, types.NamespacedName{Namespace: p.app.Namespace, Name: name}, &s)
	if err == nil && metav1.IsControlledBy(&s, p.app) {
		err = p.Delete(ctx, &s)
	}
	return client.IgnoreNotFound(err)
}

// clear removes what belongs to another kind of app than this one now is.
func (p *pass) clear(ctx context.Context) error {
	spec := &p.app.Spec
	serves := object.Serves(spec)
	for _, kind := range []struct {
		o    client.Object
		list client.ObjectList
		keep bool
	}{
		{&appsv1.Deployment{}, &appsv1.DeploymentList{}, serves && !object.InPlace(spec)},
		{&appsv1.StatefulSet{}, &appsv1.StatefulSetList{}, serves && object.Stateful(spec)},
		{&appsv1.DaemonSet{}, &appsv1.DaemonSetList{}, serves && spec.PerNode},
		{&batchv1.CronJob{}, &batchv1.CronJobList{}, spec.Kind == v1alpha1.Cron},
	} {
		if kind.keep {
			continue
		}
		if err := p.List(ctx, kind.list, owned(p.app)...); err != nil {
			return err
		}
		if err := p.removeAll(ctx, kind.list); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) removeAll(ctx context.Context, list client.ObjectList) error {
	var all []client.Object
	switch l := list.(type) {
	case *appsv1.DeploymentList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	case *appsv1.StatefulSetList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	case *appsv1.DaemonSetList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	case *batchv1.CronJobList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	}
	for _, o := range all {
		if !metav1.IsControlledBy(o, p.app) || o.GetDeletionTimestamp() != nil {
			continue
		}
		if err := p.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("remove %s: %w", o.GetName(), err)
		}
	}
	return nil
}
