package rollout

import (
	"cmp"
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/scale"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/step"
)

// stateful looks after an app whose copies have volumes of their own: one
// StatefulSet, in which a new copy takes the place of an old one, the last first.
func (p *pass) stateful(ctx context.Context, target object.Revision) error {
	var set appsv1.StatefulSet
	if err := p.Get(ctx, key(p.app), &set); client.IgnoreNotFound(err) != nil {
		return err
	}
	p.settle(target, func(spec *v1alpha1.AppSpec) bool { return object.Stateful(spec) && !spec.PerNode })
	wanted := int32(0)
	if set.Spec.Replicas != nil {
		wanted = *set.Spec.Replicas
	}
	answer := p.copies(p.app, wanted, p.ready(""))
	p.metricProblems(answer)
	rev, mayBeNew, err := p.replace(ctx, answer.Copies)
	if err != nil {
		return err
	}
	if len(rev.Spec.Ports) > 0 {
		if err := p.ensure(ctx, object.PeersService(p.app, *rev)); err != nil {
			return p.ours(err)
		}
	}
	pod, ok, err := p.pod(ctx, *rev, set.Spec.Template)
	if !ok || err != nil {
		return err
	}
	done, err := p.place(ctx, rev, object.StatefulSet(p.app, *rev, pod, answer.Copies, mayBeNew))
	if done || err != nil {
		return err
	}
	if !shipping(p.app) {
		// A StatefulSet waits for a copy of a bad revision to be ready before it
		// replaces it, which it never will be.
		if err := p.evict(ctx, p.others(rev.Name, &set, func(pod *corev1.Pod) bool { return !podReady(pod) })...); err != nil {
			return err
		}
	}
	all := p.countPlaces(rev, answer.Copies)
	p.report(p.serving(answer, all))
	return nil
}

// perNode looks after an app that has one copy on each node: one DaemonSet, whose
// copies are replaced node by node.
func (p *pass) perNode(ctx context.Context, target object.Revision) error {
	var set appsv1.DaemonSet
	if err := p.Get(ctx, key(p.app), &set); client.IgnoreNotFound(err) != nil {
		return err
	}
	p.settle(target, func(spec *v1alpha1.AppSpec) bool { return spec.PerNode })
	nodes := set.Status.DesiredNumberScheduled
	rev, mayBeNew, err := p.replace(ctx, nodes)
	if err != nil {
		return err
	}
	pod, ok, err := p.pod(ctx, *rev, set.Spec.Template)
	if !ok || err != nil {
		return err
	}
	done, err := p.place(ctx, rev, object.DaemonSet(p.app, *rev, pod))
	if done || err != nil {
		return err
	}
	if set.Spec.Template.Labels[v1alpha1.LabelRevision] == rev.Name && set.Status.ObservedGeneration == set.Generation {
		// Before, a copy that is deleted would come back as it was.
		if err := p.evict(ctx, p.nextOnNodes(rev.Name, &set, mayBeNew)...); err != nil {
			return err
		}
	}
	p.app.Status.ScaleReason = "one on each node"
	all := p.countPlaces(rev, nodes)
	now := state{ok: true, reason: v1alpha1.ReasonRunning, message: "no node has the labels that it asks for"}
	switch {
	case set.Status.ObservedGeneration == 0:
		now = state{reason: v1alpha1.ReasonStarting}
	case nodes > 0:
		now = p.serving(scale.Answer{Copies: nodes}, all)
	}
	p.report(now)
	return nil
}

// nextOnNodes are the copies to be replaced now. While a version is shipped it is
// one, while fewer are new than may be and all that were deleted have been
// replaced. Copies of a version that was taken back go at once.
func (p *pass) nextOnNodes(revision string, set *appsv1.DaemonSet, mayBeNew int32) []*corev1.Pod {
	others := p.others(revision, set, func(*corev1.Pod) bool { return true })
	if !shipping(p.app) {
		return others
	}
	fresh := int32(0)
	for i := range p.pods {
		pod := &p.pods[i]
		if pod.DeletionTimestamp != nil && metav1.IsControlledBy(pod, set) {
			return nil
		}
		if pod.Labels[v1alpha1.LabelRevision] == revision {
			fresh++
		}
	}
	replaced := fresh+int32(len(others)) >= set.Status.DesiredNumberScheduled
	if fresh >= mayBeNew || len(others) == 0 || !replaced {
		return nil
	}
	return others[:1]
}

// settle begins with target when there is no live revision of this kind, and a
// rollout when it is another than the live one.
func (p *pass) settle(target object.Revision, same func(*v1alpha1.AppSpec) bool) {
	st := &p.app.Status
	if live := p.revision(st.Live); live == nil || !object.Serves(&live.Spec) || !same(&live.Spec) {
		st.Live, st.Proven, st.Rollout = target.Name, false, nil
	}
	p.aim(target)
	if p.ready(st.Live) > 0 {
		st.Proven = true
	}
}

// replace says which revision the copies' template is, and how many copies may
// be of it. The decision is written before it is carried out.
func (p *pass) replace(ctx context.Context, n int32) (rev *object.Revision, mayBeNew int32, err error) {
	st := &p.app.Status
	mayBeNew = n
	if candidate := p.shipped(); candidate != nil {
		if n == 0 {
			// There is nothing to replace, and nothing to see.
			st.Rollout.Phase, st.Rollout.Weight = v1alpha1.PhaseDone, 100
			st.Live, st.Rollout.Message = candidate.Name, ""
		} else {
			fresh := p.ready(candidate.Name)
			next, err := p.advance(ctx, *candidate, step.Seen{
				Copies: n, New: step.Side{Want: n, Ready: fresh}, Old: step.Side{Want: n, Ready: p.ready("") - fresh}, Proven: st.Proven,
			})
			if err != nil {
				return nil, 0, err
			}
			if shipping(p.app) {
				mayBeNew = next.New
			}
		}
	}
	rev = p.revision(st.Live)
	if candidate := p.shipped(); candidate != nil {
		rev = candidate
	}
	if p.decided() {
		err = p.writeStatus(ctx)
	}
	return rev, mayBeNew, err
}

// shipped is the revision that is being shipped, if any.
func (p *pass) shipped() *object.Revision {
	if !shipping(p.app) {
		return nil
	}
	return p.revision(p.app.Status.Rollout.Revision)
}

// place makes the workload and what leads to it. It reports that all is said
// when that is not possible.
func (p *pass) place(ctx context.Context, rev *object.Revision, workload client.Object) (done bool, err error) {
	if err := p.ensure(ctx, workload); err != nil {
		if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
			p.wrong(v1alpha1.ReasonInvalid, err.Error())
			p.report(p.notYet())
			return true, nil
		}
		return true, p.ours(err)
	}
	if err := p.learn(ctx, rev); err != nil {
		return true, err
	}
	if err := p.reload(ctx); err != nil {
		return true, err
	}
	// The gateway finds every copy behind the app's own name.
	if err := p.route(ctx, []object.Share{{Weight: 100}}); err != nil {
		return true, p.ours(err)
	}
	return false, nil
}

// countPlaces writes how the revisions do. Requests go to all copies alike, so
// that a revision's share is that of its copies.
func (p *pass) countPlaces(rev *object.Revision, n int32) copies {
	st := &p.app.Status
	live := v1alpha1.RevisionStatus{Name: st.Live, Weight: 100, Role: roleLive, Replicas: n, Ready: p.ready(st.Live)}
	st.Revisions = nil
	if shipping(p.app) {
		fresh := v1alpha1.RevisionStatus{Name: rev.Name, Image: rev.Image(), Role: roleNew, Weight: st.Rollout.Weight, Ready: p.ready(rev.Name)}
		fresh.Replicas = max(fresh.Ready, st.Rollout.Step+1)
		live.Weight, live.Replicas = 100-fresh.Weight, max(0, n-fresh.Replicas)
		st.Revisions = append(st.Revisions, fresh)
	}
	if r := p.revision(st.Live); r != nil {
		live.Image = r.Image()
	}
	st.Revisions = append(st.Revisions, live)
	all := copies{ready: min(n, p.ready("")), wanted: n}
	p.count(all)
	return all
}

// others are the copies in a workload that are of another revision, in the order
// of their names.
func (p *pass) others(revision string, set metav1.Object, also func(*corev1.Pod) bool) []*corev1.Pod {
	var out []*corev1.Pod
	for i := range p.pods {
		pod := &p.pods[i]
		if pod.DeletionTimestamp == nil && pod.Labels[v1alpha1.LabelRevision] != revision && metav1.IsControlledBy(pod, set) && also(pod) {
			out = append(out, pod)
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// evict ends copies, whose workload makes others in their places.
func (p *pass) evict(ctx context.Context, pods ...*corev1.Pod) error {
	for _, pod := range pods {
		uid := pod.UID
		err := p.Delete(ctx, pod, client.Preconditions{UID: &uid})
		if client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}
