package rollout

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
			if end := p.failure(target.Name); end != "" {
				now.message += ": " + end
			}
			p.wrong(v1alpha1.ReasonFailed, now.message)
		}
	}
	p.report(now)
	return nil
}

// failure says how the newest copy of a revision that failed ended, and is empty
// if none is left that could tell.
func (p *pass) failure(revision string) string {
	var last *corev1.ContainerStateTerminated
	for i := range p.pods {
		if p.pods[i].Labels[v1alpha1.LabelRevision] != revision {
			continue
		}
		for _, c := range p.pods[i].Status.ContainerStatuses {
			t := c.State.Terminated
			if t != nil && t.ExitCode != 0 && (last == nil || last.FinishedAt.Before(&t.FinishedAt)) {
				last = t
			}
		}
	}
	if last == nil {
		return ""
	}
	return fmt.Sprintf("exit code %d", last.ExitCode) + lastWords(last)
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
