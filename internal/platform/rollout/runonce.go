package rollout

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
)

// pod makes the template of a revision's pods; not being able to is a problem.
// One that was made before is kept: the image's digest, which is known since,
// would be a change that replaces every copy.
func (p *pass) pod(ctx context.Context, rev object.Revision, made corev1.PodTemplateSpec) (corev1.PodTemplateSpec, bool, error) {
	if made.Labels[v1alpha1.LabelRevision] == rev.Name {
		return made, true, nil
	}
	others, err := p.addresses(ctx)
	if err != nil {
		return corev1.PodTemplateSpec{}, false, err
	}
	pod, err := object.Pod(p.app, rev, others)
	if err != nil {
		p.wrong(v1alpha1.ReasonDependencyMissing, err.Error())
		p.report(p.notYet())
		return pod, false, nil
	}
	return pod, true, nil
}

// job runs a revision once. Another revision is another Job; one that still
// runs is left to end.
func (p *pass) job(ctx context.Context, target object.Revision) error {
	var j batchv1.Job
	err := p.Get(ctx, types.NamespacedName{Namespace: p.app.Namespace, Name: object.Name(p.app, target.Name)}, &j)
	if apierrors.IsNotFound(err) {
		pod, ok, err := p.pod(ctx, target, corev1.PodTemplateSpec{})
		if !ok || err != nil {
			return err
		}
		err = p.Create(ctx, object.Job(p.app, target, pod))
		if apierrors.IsAlreadyExists(err) {
			err = p.foreign(ctx, &batchv1.Job{}, object.Name(p.app, target.Name), err)
		}
		if err != nil {
			return p.ours(err)
		}
	} else if err != nil {
		return err
	}
	if err := p.learn(ctx, &target); err != nil {
		return err
	}
	p.only(target)
	p.count(copies{ready: p.ready(target.Name), wanted: 1})
	now := state{reason: v1alpha1.ReasonStarting, message: "it runs"}
	for _, c := range j.Status.Conditions {
		switch {
		case c.Status != corev1.ConditionTrue:
		case c.Type == batchv1.JobComplete:
			p.app.Status.Copies = "done"
			now = state{ok: true, reason: v1alpha1.ReasonCompleted}
		case c.Type == batchv1.JobFailed:
			p.app.Status.Copies = "failed"
			now = state{reason: v1alpha1.ReasonFailed, message: c.Message}
			p.wrong(v1alpha1.ReasonFailed, c.Message)
		}
	}
	p.report(now)
	return nil
}

// only writes the status of an app of which one revision is live.
func (p *pass) only(rev object.Revision) {
	st := &p.app.Status
	if st.Live != rev.Name && st.Rollout != nil && st.Rollout.Revision == rev.Name {
		st.Rollout.Phase, st.Rollout.Weight = v1alpha1.PhaseDone, 100
	}
	st.Live = rev.Name
	st.Revisions = []v1alpha1.RevisionStatus{{Name: rev.Name, Image: rev.Image(), Role: roleLive, Replicas: 1, Ready: p.ready(rev.Name)}}
}

// cron runs the newest revision by its schedule.
func (p *pass) cron(ctx context.Context, target object.Revision) error {
	var there batchv1.CronJob
	if err := p.Get(ctx, key(p.app), &there); client.IgnoreNotFound(err) != nil {
		return err
	}
	pod, ok, err := p.pod(ctx, target, there.Spec.JobTemplate.Spec.Template)
	if !ok || err != nil {
		return err
	}
	if err := p.ensure(ctx, object.CronJob(p.app, target, pod)); err != nil {
		if apierrors.IsInvalid(err) {
			p.wrong(v1alpha1.ReasonInvalid, err.Error())
			p.report(p.notYet())
			return nil
		}
		return p.ours(err)
	}
	if err := p.learn(ctx, &target); err != nil {
		return err
	}
	p.only(target)
	p.count(copies{})
	p.app.Status.Copies = fmt.Sprintf("%d running", p.app.Status.Replicas)
	p.report(state{ok: true, reason: v1alpha1.ReasonScheduled})
	return nil
}

// stateful looks after an app whose copies have volumes of their own: one
// StatefulSet, whose controller replaces copy by copy, each when the one before
// is ready. A copy that is not ready in time brings the old revision back.
func (p *pass) stateful(ctx context.Context, target object.Revision) error {
	st := &p.app.Status
	var set appsv1.StatefulSet
	err := p.Get(ctx, key(p.app), &set)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if live := p.revision(st.Live); live == nil || !object.Stateful(&live.Spec) {
		st.Live, st.Rollout = target.Name, nil
	}
	p.aim(target)
	rev := target
	if ro := st.Rollout; ro != nil && ro.Revision == target.Name && ro.Phase == v1alpha1.PhaseTakenBack {
		rev = *p.revision(st.Live)
	}
	wanted := int32(0)
	if set.Spec.Replicas != nil {
		wanted = *set.Spec.Replicas
	}
	answer := p.copies(p.app, wanted, p.ready(""))
	p.metricProblems(answer)
	if shipping(p.app) {
		if err := p.advanceSet(ctx, &set, answer.Copies); err != nil {
			return err
		}
		if st.Rollout.Phase == v1alpha1.PhaseTakenBack {
			rev = *p.revision(st.Live)
		}
	}
	if p.decided() {
		if err := p.writeStatus(ctx); err != nil {
			return err
		}
	}
	if len(rev.Spec.Ports) > 0 {
		if err := p.ensure(ctx, object.PeersService(p.app, rev)); err != nil {
			return p.ours(err)
		}
	}
	pod, ok, err := p.pod(ctx, rev, set.Spec.Template)
	if !ok || err != nil {
		return err
	}
	if err := p.ensure(ctx, object.StatefulSet(p.app, rev, pod, answer.Copies)); err != nil {
		if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
			p.wrong(v1alpha1.ReasonInvalid, err.Error())
			p.report(p.notYet())
			return nil
		}
		return p.ours(err)
	}
	if err := p.learn(ctx, p.revision(rev.Name)); err != nil {
		return err
	}
	if err := p.reload(ctx); err != nil {
		return err
	}
	// The gateway finds every copy behind the app's own name.
	if err := p.route(ctx, []object.Share{{Weight: 100}}); err != nil {
		return p.ours(err)
	}
	st.Revisions = []v1alpha1.RevisionStatus{{Name: rev.Name, Image: rev.Image(), Weight: 100, Role: roleLive, Replicas: answer.Copies, Ready: p.ready(rev.Name)}}
	all := copies{ready: min(answer.Copies, p.ready("")), wanted: answer.Copies}
	p.count(all)
	p.report(p.serving(answer, all))
	return nil
}

// advanceSet says how far a StatefulSet's own rolling update is.
func (p *pass) advanceSet(ctx context.Context, set *appsv1.StatefulSet, copies int32) error {
	st := &p.app.Status
	ro := st.Rollout
	updated := p.ready(ro.Revision)
	ro.Weight = min(100, updated*100/max(1, copies))
	ro.Message = fmt.Sprintf("%d of %d copies replaced", updated, copies)
	if fault := p.fault(ro.Revision); fault != "" {
		ro.Message += ": " + fault
	}
	plan, err := p.plan(ro)
	if err != nil {
		p.wrong(v1alpha1.ReasonInvalid, "rollout: "+err.Error())
		return nil
	}
	why := ""
	if o, ok := p.pending(); ok {
		possible := o.verb == v1alpha1.CommandAbort
		p.obeyed(o, possible, map[bool]string{true: "back to " + ro.From, false: "the copies have volumes of their own and are replaced one by one"}[possible])
		if possible {
			why = "aborted by a command"
		}
	}
	switch {
	case updated >= copies:
		ro.Phase, ro.Weight, ro.Message, ro.Since = v1alpha1.PhaseDone, 100, "", metav1.NewMicroTime(p.now)
		st.Live, st.Proven = ro.Revision, true
		p.event(false, "Promoted", ro.Revision+" is live")
	case p.now.Sub(ro.Since.Time) >= plan.Deadline:
		why = fmt.Sprintf("not ready within %s: %s", plan.Deadline, ro.Message)
	}
	if why == "" || ro.Phase == v1alpha1.PhaseDone {
		return nil
	}
	p.end(v1alpha1.PhaseTakenBack, why)
	// A StatefulSet waits for a copy of the bad revision to be ready before it
	// replaces it, which it never will be.
	for i := range p.pods {
		pod := &p.pods[i]
		if pod.Labels[v1alpha1.LabelRevision] == ro.Revision && !podReady(pod) && metav1.IsControlledBy(pod, set) {
			if err := p.Delete(ctx, pod); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
	}
	return nil
}
