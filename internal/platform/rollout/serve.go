package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/step"
)

// What a revision is to its app.
const (
	roleLive    = "live"
	roleNew     = "new"
	roleLeaving = "leaving"
)

// drained is how long a revision without traffic is given to finish its
// requests, and settled how long the gateway is given to hear that it has none.
const (
	drained = 30 * time.Second
	settled = 2 * time.Second
)

// serve looks after an app that runs on, with one Deployment for each revision.
func (p *pass) serve(ctx context.Context, target object.Revision) error {
	st := &p.app.Status
	deployments, err := p.deployments(ctx)
	if err != nil {
		return err
	}
	if live := p.revision(st.Live); live == nil || !object.Serves(&live.Spec) || object.InPlace(&live.Spec) {
		// The first, or the app was of another kind, which was removed.
		st.Live, st.Proven, st.Rollout = target.Name, false, nil
	}
	p.aim(target)
	sides := func(name string) step.Side {
		return step.Side{Want: replicas(deployments[name]), Ready: p.ready(name)}
	}
	var candidate *object.Revision
	if shipping(p.app) {
		candidate = p.revision(st.Rollout.Revision)
	}
	wanted, ready := sides(st.Live).Want, sides(st.Live).Ready
	if candidate != nil {
		c := sides(candidate.Name)
		wanted, ready = max(wanted, c.Want), ready+c.Ready
	}
	answer := p.copies(p.app, wanted, ready)
	p.metricProblems(answer)
	if sides(st.Live).Ready > 0 {
		st.Proven = true
	}
	want := map[string]int32{st.Live: answer.Copies}
	if candidate != nil {
		next, err := p.advance(ctx, *candidate, step.Seen{
			Copies: answer.Copies, New: sides(candidate.Name), Old: sides(st.Live), Proven: st.Proven,
		})
		if err != nil {
			return err
		}
		want[st.Rollout.From], want[candidate.Name] = next.Old, next.New
		if st.Rollout.Phase == v1alpha1.PhaseTakenBack {
			want = map[string]int32{st.Live: max(answer.Copies, sides(st.Live).Want)}
		}
	}
	shares := p.shares(deployments, want)
	served := p.countRevisions(deployments, shares, want)
	// The decision is written before it is carried out: after a crash, or
	// against an app that was changed meanwhile, nothing is done on old news.
	if p.decided() {
		if err := p.writeStatus(ctx); err != nil {
			return err
		}
	}
	if err := p.carryOut(ctx, deployments, shares, want); err != nil {
		return p.ours(err)
	}
	p.report(p.serving(answer, served))
	return nil
}

// shares is who gets how much of the traffic. Those that are wanted come first;
// the others leave.
func (p *pass) shares(deployments map[string]*appsv1.Deployment, want map[string]int32) []object.Share {
	st := &p.app.Status
	shares := []object.Share{{Revision: st.Live, Weight: 100}}
	if shipping(p.app) {
		ro := st.Rollout
		shares = []object.Share{{Revision: st.Live, Weight: 100 - ro.Weight}, {Revision: ro.Revision, Weight: ro.Weight}}
	}
	for _, name := range slices.Sorted(maps.Keys(deployments)) {
		if _, used := want[name]; !used {
			shares = append(shares, object.Share{Revision: name})
		}
	}
	return shares
}

// aim begins a rollout when the app asks for another revision than the live
// one, and ends it when it no longer does.
func (p *pass) aim(target object.Revision) {
	st := &p.app.Status
	ro := st.Rollout
	switch {
	case target.Name == st.Live:
		if shipping(p.app) {
			p.end(v1alpha1.PhaseTakenBack, "the app asks for "+st.Live+" again")
		} else if ro != nil && ro.Phase == v1alpha1.PhaseTakenBack {
			st.Rollout = nil // nobody asks for it any more
		}
	case ro == nil || ro.Revision != target.Name || ro.Phase == v1alpha1.PhaseDone:
		if arrived(ro) && p.revision(ro.Revision) != nil {
			// Everybody sees it already: the next version is shipped from
			// here, and nobody goes back to the one before meanwhile.
			st.Live, st.Proven = ro.Revision, true
			p.event(false, "Promoted", ro.Revision+" is live")
		}
		st.Rollout = newRollout(p.app, target, p.now)
		p.event(false, "RolloutBegan", fmt.Sprintf("from %s to %s", st.Live, target.Name))
	}
}

// arrived reports whether the new revision of a rollout that is still watched
// has all the traffic.
func arrived(ro *v1alpha1.RolloutStatus) bool {
	return ro != nil && ro.Phase == v1alpha1.PhaseWatching && ro.Weight == 100
}

// end ends the rollout without asking the step.
func (p *pass) end(phase v1alpha1.Phase, why string) {
	ro := p.app.Status.Rollout
	ro.Phase, ro.Weight, ro.Paused, ro.Message, ro.Since = phase, 0, "", why, metav1.NewMicroTime(p.now)
	p.event(true, v1alpha1.ReasonTakenBack, why)
}

// advance asks how the rollout goes on and writes the answer into the status.
func (p *pass) advance(ctx context.Context, candidate object.Revision, seen step.Seen) (step.Next, error) {
	st := &p.app.Status
	ro := st.Rollout
	plan, err := p.plan(ro)
	if err != nil {
		p.wrong(v1alpha1.ReasonInvalid, "rollout: "+err.Error())
		return step.Next{New: seen.New.Want, Old: seen.Old.Want}, nil
	}
	seen.Fault = p.fault(candidate.Name)
	if o, ok := p.pending(); ok {
		seen.Command = o.verb
		p.obeyed(o, true, fmt.Sprintf("%s, revision %s", o.verb, ro.Revision))
	}
	if seen.New.Ready > 0 || ro.Weight > 0 {
		seen.Verdict = p.verdict(ctx, ro)
	}
	was := step.State{Phase: ro.Phase, Step: int(ro.Step), Weight: ro.Weight, Since: ro.Since.Time, Paused: step.Pause(ro.Paused), Message: ro.Message}
	next := step.Decide(plan, was, seen, p.now)
	ro.Phase, ro.Step, ro.Weight, ro.Paused, ro.Message = next.Phase, int32(next.Step), next.Weight, string(next.Paused), next.Message
	if !next.Since.Equal(was.Since) {
		ro.Since = metav1.NewMicroTime(next.Since)
	}
	switch {
	case ro.Phase == v1alpha1.PhaseTakenBack:
		p.event(true, v1alpha1.ReasonTakenBack, fmt.Sprintf("%s stays, %s is taken back: %s", ro.From, ro.Revision, ro.Message))
	case ro.Phase == v1alpha1.PhaseDone:
		st.Live, st.Proven = ro.Revision, true
		p.event(false, "Promoted", fmt.Sprintf("%s is live", ro.Revision))
	case ro.Weight != was.Weight:
		p.event(false, "Weight", fmt.Sprintf("%s gets %d %% of the requests", ro.Revision, ro.Weight))
	case ro.Paused != string(was.Paused) && ro.Paused != "":
		p.event(ro.Paused == string(step.ByJudge), "Paused", ro.Message)
	}
	p.watch(ro)
	return next, nil
}

// plan is how the rollout under way goes: as the app asks, but straight and
// without steps when it goes back to a revision that was live before.
func (p *pass) plan(ro *v1alpha1.RolloutStatus) (step.Plan, error) {
	plan, err := step.NewPlan(p.app.Spec.Rollout)
	switch {
	case err != nil:
	case object.InPlace(&p.app.Spec):
		plan.Strategy, plan.Judged = step.Replacing, plan.Judged && !ro.Rollback
	case ro.Rollback:
		plan = step.Plan{Strategy: v1alpha1.BlueGreen, Steps: []step.Step{{Weight: 100}}, Deadline: plan.Deadline}
	}
	return plan, err
}

// watch has the gateway's counters of both revisions kept while it matters.
func (p *pass) watch(ro *v1alpha1.RolloutStatus) {
	tried, before := p.backends(ro)
	for _, name := range []string{tried, before} {
		if shipping(p.app) {
			p.history.Watch(name)
		} else {
			p.history.Forget(name)
		}
	}
}

// backends are the gateway's names for the revision that is shipped and for the
// one before. Copies that are replaced in their places have one name together:
// the new version is then judged by all requests, and nothing excuses it.
func (p *pass) backends(ro *v1alpha1.RolloutStatus) (tried, before string) {
	if object.InPlace(&p.app.Spec) {
		return p.app.Namespace + "/" + p.app.Name, ""
	}
	return backend(p.app, ro.Revision), backend(p.app, ro.From)
}

// verdict asks the judge about the revision that is being shipped.
func (p *pass) verdict(ctx context.Context, ro *v1alpha1.RolloutStatus) step.Verdict {
	t := Trial{App: p.app, Revision: ro.Revision, Window: step.Window(p.app.Spec.Rollout)}
	t.New, t.Old = p.backends(ro)
	if r := p.app.Spec.Rollout; r != nil && r.Judge != nil {
		t.Judge = *r.Judge
	}
	if t.Judge.Off {
		return step.Verdict{}
	}
	var errs []error
	for _, j := range []Judge{p.judge, &metricJudge{p.measured}} {
		v, err := j.Judge(ctx, t)
		if v.Bad {
			return step.Verdict{Bad: true, Reason: v.Reason}
		}
		errs = append(errs, err)
	}
	return step.Verdict{Err: errors.Join(errs...)}
}

// decided says whether the rollout has gone on.
func (p *pass) decided() bool {
	st := &p.app.Status
	a, b := p.before.Rollout, st.Rollout
	if st.Live != p.before.Live || (a == nil) != (b == nil) {
		return true
	}
	return a != nil && (a.Revision != b.Revision || a.Phase != b.Phase || a.Weight != b.Weight || a.Step != b.Step || a.Paused != b.Paused)
}

// carryOut makes the objects as they were decided. New copies come before the
// traffic, and old ones go after it.
func (p *pass) carryOut(ctx context.Context, deployments map[string]*appsv1.Deployment, shares []object.Share, want map[string]int32) error {
	for _, s := range shares {
		rev := p.revision(s.Revision)
		if _, used := want[s.Revision]; !used || rev == nil {
			continue
		}
		if err := p.ensureRevision(ctx, *rev, deployments[rev.Name], want[rev.Name]); err != nil {
			return err
		}
		if err := p.learn(ctx, rev); err != nil {
			return err
		}
	}
	if err := p.route(ctx, shares); err != nil {
		return err
	}
	for name, d := range deployments {
		if _, used := want[name]; used {
			continue
		}
		if err := p.leave(ctx, name, d); err != nil {
			return err
		}
	}
	return p.reload(ctx)
}

// ours turns a name that somebody else has into a problem of the app.
func (p *pass) ours(err error) error {
	if isExists(err) {
		p.wrong(v1alpha1.ReasonNameTaken, err.Error())
		p.report(state{reason: v1alpha1.ReasonNameTaken, message: err.Error()})
		return nil
	}
	return err
}

// ensureRevision brings a revision's Deployment and Service to be.
func (p *pass) ensureRevision(ctx context.Context, rev object.Revision, d *appsv1.Deployment, copies int32) error {
	if len(rev.Spec.Ports) > 0 {
		if err := p.ensure(ctx, object.RevisionService(p.app, rev)); err != nil {
			return err
		}
	}
	if d == nil {
		others, err := p.addresses(ctx)
		if err != nil {
			return err
		}
		pod, err := object.Pod(p.app, rev, others)
		if err != nil {
			p.wrong(v1alpha1.ReasonDependencyMissing, err.Error())
			return nil
		}
		err = p.Create(ctx, object.Deployment(p.app, rev, pod, copies))
		if apierrors.IsAlreadyExists(err) {
			return p.foreign(ctx, &appsv1.Deployment{}, object.Name(p.app, rev.Name), err)
		}
		return err
	}
	_, leaving := d.Annotations[v1alpha1.AnnotationLeaving]
	if !leaving && replicas(d) == copies {
		return nil
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:null}},"spec":{"replicas":%d}}`, v1alpha1.AnnotationLeaving, copies)
	return p.Patch(ctx, d, client.RawPatch(mergePatch, []byte(patch)))
}

// leave removes the copies of a revision that gets no traffic any more, when
// its last request has ended.
func (p *pass) leave(ctx context.Context, name string, d *appsv1.Deployment) error {
	p.again = again
	since, err := time.Parse(time.RFC3339Nano, d.Annotations[v1alpha1.AnnotationLeaving])
	if err != nil {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationLeaving, p.now.Format(time.RFC3339Nano))
		return p.Patch(ctx, d, client.RawPatch(mergePatch, []byte(patch)))
	}
	left := p.now.Sub(since)
	busy := p.history.Now(backend(p.app, name)).InFlight > 0 || p.history.Err() != nil
	if object.WebPort(&p.app.Spec) == nil {
		busy = false
	}
	if left < settled || busy && left < drained {
		return nil
	}
	if err := p.Delete(ctx, d, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
		return err
	}
	return p.removeService(ctx, object.Name(p.app, name))
}
