package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/step"
)

// order is a command that has not been obeyed yet.
type order struct{ verb, arg, id string }

// parseOrder reads VERB[:ARGUMENT]#ID. Without an ID the text is its own.
func parseOrder(text string) order {
	what, id, ok := strings.Cut(text, "#")
	if !ok {
		id = text
	}
	verb, arg, _ := strings.Cut(what, ":")
	return order{verb: strings.TrimSpace(verb), arg: strings.TrimSpace(arg), id: id}
}

// command obeys a command that is about the whole app, and reports whether the
// app was changed for it. One about a rollout is left to the step.
func (p *pass) command(ctx context.Context) (bool, error) {
	o, ok := p.pending()
	if !ok {
		return false, nil
	}
	ro := p.app.Status.Rollout
	switch o.verb {
	case v1alpha1.CommandRollback:
		return p.rollback(ctx, o)
	case v1alpha1.CommandPromote, v1alpha1.CommandResume:
		if ro != nil && ro.Phase == v1alpha1.PhaseTakenBack {
			p.app.Status.Rollout = nil // begins anew
			p.obeyed(o, true, "ships "+ro.Revision+" again")
			return false, nil
		}
		fallthrough
	case v1alpha1.CommandAbort, v1alpha1.CommandPause:
		if !shipping(p.app) {
			p.obeyed(o, false, "no rollout is under way")
		}
	default:
		p.obeyed(o, false, fmt.Sprintf("%q is none of promote, abort, pause, resume and rollback", o.verb))
	}
	return false, nil
}

// pending is the command that has not been obeyed yet.
func (p *pass) pending() (order, bool) {
	text := p.app.Annotations[v1alpha1.AnnotationCommand]
	if text == "" {
		return order{}, false
	}
	o := parseOrder(text)
	done := p.app.Status.Command
	return o, done == nil || done.ID != o.id
}

func (p *pass) obeyed(o order, done bool, message string) {
	p.app.Status.Command = &v1alpha1.CommandStatus{ID: o.id, Verb: o.verb, Done: done, Message: message}
	p.event(!done, "Command", o.verb+": "+message)
}

// rollback asks for an earlier revision by writing it into the spec, where the
// next reader looks for it. The app's own configuration comes back with it; the
// ConfigMaps and Secrets that it names beside stay as they are for others, and
// the revision has its own copies of them.
func (p *pass) rollback(ctx context.Context, o order) (bool, error) {
	name := o.arg
	if name != "" && !strings.HasPrefix(name, "r") {
		name = "r" + name
	}
	if name == "" {
		name = p.previous()
	}
	rev := p.revision(name)
	if rev == nil {
		p.obeyed(o, false, fmt.Sprintf("revision %s is not in the history", name))
		return false, nil
	}
	before := p.app.DeepCopy()
	p.app.Spec = restored(p.app.Spec, *rev)
	if p.app.Annotations == nil {
		p.app.Annotations = map[string]string{}
	}
	if rev.Restart != "" {
		p.app.Annotations[v1alpha1.AnnotationRestart] = rev.Restart
	} else {
		delete(p.app.Annotations, v1alpha1.AnnotationRestart)
	}
	if err := p.restoreOwn(ctx, *rev); err != nil {
		return false, err
	}
	status := p.app.Status.DeepCopy()
	if err := p.Patch(ctx, p.app, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return false, err
	}
	p.app.Status = *status
	if err := p.readSources(ctx); err != nil {
		return false, err
	}
	config, _ := p.configuration()
	p.problems = nil // what is missing now is not missing in the revision's own copies
	p.app.Status.Pinned = nil
	if hash := object.Hash(p.app, config); hash != rev.Hash {
		p.app.Status.Pinned = &v1alpha1.Pin{Revision: rev.Name, Hash: hash}
	}
	if rev.Name != p.app.Status.Live {
		p.app.Status.Rollout = newRollout(p.app, *rev, p.now)
		p.app.Status.Rollout.Rollback = true
	}
	p.obeyed(o, true, "back to "+rev.Name+": "+rev.Image())
	return true, nil
}

// previous is the revision that was live before this one.
func (p *pass) previous() string {
	if ro := p.app.Status.Rollout; ro != nil && ro.Phase == v1alpha1.PhaseDone && ro.Revision == p.app.Status.Live && p.revision(ro.From) != nil {
		return ro.From
	}
	live := p.revision(p.app.Status.Live)
	for _, r := range p.revisions {
		if live != nil && r.Number < live.Number {
			return r.Name
		}
	}
	return ""
}

// restored is a spec with the content of an earlier revision.
func restored(now v1alpha1.AppSpec, rev object.Revision) v1alpha1.AppSpec {
	out := *rev.Spec.DeepCopy()
	out.Scale, out.Routes, out.Rollout, out.DependsOn = now.Scale, now.Routes, now.Rollout, now.DependsOn
	if object.Live(&out) {
		for i := range out.Files {
			for _, f := range now.Files {
				if f.Path == out.Files[i].Path && out.Files[i].ConfigMap == nil && out.Files[i].Secret == nil {
					out.Files[i].Content = f.Content
				}
			}
		}
	}
	return out
}

func newRollout(app *v1alpha1.App, rev object.Revision, now time.Time) *v1alpha1.RolloutStatus {
	begin := step.Begin(now)
	return &v1alpha1.RolloutStatus{
		Revision: rev.Name, From: app.Status.Live, Phase: begin.Phase,
		Since: metav1.NewMicroTime(now), Began: metav1.NewMicroTime(now),
	}
}

// shipping says whether a rollout is under way.
func shipping(app *v1alpha1.App) bool {
	ro := app.Status.Rollout
	return ro != nil && (ro.Phase == v1alpha1.PhaseStarting || ro.Phase == v1alpha1.PhaseWatching)
}
