package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/object"
	"github.com/sampan-cloud/sampan/internal/platform/rollout/internal/scale"
)

// ready says whether an app does what it should.
func ready(app *v1alpha1.App) bool {
	return meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionReady)
}

// is says whether a condition holds for this reason.
func is(app *v1alpha1.App, condition, reason string) bool {
	c := meta.FindStatusCondition(app.Status.Conditions, condition)
	return c != nil && c.Status == metav1.ConditionTrue && c.Reason == reason
}

func (p *pass) set(condition string, holds bool, reason, message string) {
	status := metav1.ConditionFalse
	if holds {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&p.app.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: message,
		ObservedGeneration: p.app.Generation, LastTransitionTime: metav1.NewTime(p.now),
	})
}

func (p *pass) conflict(message string) {
	if message == "" {
		p.set(v1alpha1.ConditionRouteConflict, false, v1alpha1.ReasonAsExpected, "")
		return
	}
	if !is(p.app, v1alpha1.ConditionRouteConflict, v1alpha1.ReasonHostTaken) {
		p.event(true, v1alpha1.ReasonHostTaken, message)
	}
	p.set(v1alpha1.ConditionRouteConflict, true, v1alpha1.ReasonHostTaken, message)
}

// ready counts the copies of a revision that may get requests. The pods
// themselves are asked, because their owners' counts come later.
func (p *pass) ready(revision string) int32 {
	n := int32(0)
	for i := range p.pods {
		pod := &p.pods[i]
		if pod.DeletionTimestamp == nil && (revision == "" || pod.Labels[v1alpha1.LabelRevision] == revision) && podReady(pod) {
			n++
		}
	}
	return n
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// fault says why copies of a revision do not start, and is empty if they do.
func (p *pass) fault(revision string) string {
	_, message := p.faultOf(revision)
	return message
}

func (p *pass) faultOf(revision string) (reason, message string) {
	for i := range p.pods {
		pod := &p.pods[i]
		if pod.DeletionTimestamp != nil || revision != "" && pod.Labels[v1alpha1.LabelRevision] != revision {
			continue
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
				if strings.Contains(c.Message, "persistentvolumeclaim") {
					return v1alpha1.ReasonVolume, c.Message
				}
				return v1alpha1.ReasonNotEnough, c.Message
			}
		}
		if p.volumeFault != "" && waitsForNode(pod) {
			return v1alpha1.ReasonVolume, p.volumeFault
		}
		for _, c := range pod.Status.ContainerStatuses {
			w := c.State.Waiting
			switch {
			case w == nil:
			case strings.Contains(w.Reason, "Image"):
				return v1alpha1.ReasonImage, fmt.Sprintf("%s: %s", w.Reason, w.Message)
			case w.Reason == "CrashLoopBackOff":
				return v1alpha1.ReasonCrashing, "it ends by itself: " + lastEnd(c)
			case strings.HasSuffix(w.Reason, "Error"):
				return v1alpha1.ReasonCrashing, fmt.Sprintf("%s: %s", w.Reason, w.Message)
			}
		}
	}
	return "", ""
}

func lastEnd(c corev1.ContainerStatus) string {
	t := c.LastTerminationState.Terminated
	if t == nil {
		return "restarted " + fmt.Sprint(c.RestartCount) + " times"
	}
	return fmt.Sprintf("exit code %d after %d restarts", t.ExitCode, c.RestartCount) + lastWords(t)
}

// lastWords is the last line that a container left, after a colon: the message
// may be the end of its log. An event, which repeats it, holds 1024 bytes.
func lastWords(t *corev1.ContainerStateTerminated) string {
	text := strings.TrimSpace(t.Message)
	if text == "" {
		return ""
	}
	return fmt.Sprintf(": %.200s", strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:]))
}

// sampled is how long a copy runs at most before it has been measured.
const sampled = 20 * time.Second

// young says whether no copy has been ready for long.
func (p *pass) young() bool {
	for i := range p.pods {
		for _, c := range p.pods[i].Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.now.Sub(c.LastTransitionTime.Time) > sampled {
				return false
			}
		}
	}
	return true
}

// metricProblems tells which metrics cannot be read, and what is wrong with the
// times at which other limits hold.
func (p *pass) metricProblems(a scale.Answer) {
	p.app.Status.ScaleReason = a.Reason
	for _, err := range a.Errs {
		if errors.Is(err, errNotYet) && p.young() {
			continue // there will be samples in a moment
		}
		p.wrong(v1alpha1.ReasonMetricUnreachable, err.Error())
	}
	if sc := p.app.Spec.Scale; sc != nil {
		for i, w := range sc.Schedule {
			if _, err := within(w, p.now); err != nil {
				p.wrong(v1alpha1.ReasonInvalid, fmt.Sprintf("scale.schedule %d: %v", i+1, err))
			}
		}
	}
}

// countRevisions writes how the revisions do, and how many copies of those
// that are wanted serve: one that only finishes its last requests is not
// counted.
func (p *pass) countRevisions(deployments map[string]*appsv1.Deployment, shares []object.Share, want map[string]int32) copies {
	st := &p.app.Status
	st.Revisions = nil
	var sum copies
	for _, s := range shares {
		rs := v1alpha1.RevisionStatus{Name: s.Revision, Weight: s.Weight, Role: roleLeaving, Ready: p.ready(s.Revision)}
		if rev := p.revision(s.Revision); rev != nil {
			rs.Image = rev.Image()
		}
		if n, used := want[s.Revision]; used {
			rs.Replicas, rs.Role = n, roleLive
			if s.Revision != st.Live {
				rs.Role = roleNew
			}
			sum.wanted += n
			sum.ready += min(n, rs.Ready)
		} else {
			rs.Replicas = replicas(deployments[s.Revision])
		}
		st.Revisions = append(st.Revisions, rs)
	}
	p.count(sum)
	return sum
}

// copies are those of an app that should serve, and how many of them do.
type copies struct{ ready, wanted int32 }

// count counts the app's copies.
func (p *pass) count(c copies) {
	st := &p.app.Status
	st.Replicas = 0
	for i := range p.pods {
		if phase := p.pods[i].Status.Phase; p.pods[i].DeletionTimestamp == nil && phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			st.Replicas++
		}
	}
	st.Ready = p.ready("")
	st.Copies = fmt.Sprintf("%d/%d", c.ready, c.wanted)
	st.Selector = v1alpha1.LabelApp + "=" + p.app.Name
}

// state is what the condition Ready says.
type state struct {
	ok              bool
	reason, message string
}

// notYet is the state of an app that has not begun: the gravest problem is why.
func (p *pass) notYet() state {
	if len(p.problems) > 0 {
		return state{reason: p.problems[0].reason, message: p.problems[0].message}
	}
	return state{reason: v1alpha1.ReasonStarting}
}

// serving is the state of an app that runs on.
func (p *pass) serving(a scale.Answer, c copies) state {
	switch {
	case c.wanted == 0 && fixed(p.app):
		return state{true, v1alpha1.ReasonAsleep, "no request wakes it: spec.scale.replicas is 0"}
	case c.wanted == 0:
		return state{true, v1alpha1.ReasonAsleep, "a request wakes it; " + a.Reason}
	case c.ready > 0 && object.WebPort(&p.app.Spec) != nil && !ready(p.app) && !p.history.Seen():
		// In a cloud that has just started, its address would not answer yet.
		p.again = restFew
		return state{false, v1alpha1.ReasonStarting, "waits for the gateway"}
	case c.ready > 0:
		return state{true, v1alpha1.ReasonRunning, fmt.Sprintf("%d of %d copies", c.ready, c.wanted)}
	default:
		return state{false, v1alpha1.ReasonStarting, fmt.Sprintf("0 of %d copies are ready", c.wanted)}
	}
}

// report writes the conditions, each once: a condition that is set twice to
// different values changes at every look.
func (p *pass) report(s state) {
	st := &p.app.Status
	ro := st.Rollout
	revision := st.Live
	if shipping(p.app) {
		revision = ro.Revision
	}
	if reason, message := p.faultOf(revision); reason != "" {
		p.wrong(reason, message)
	}
	p.set(v1alpha1.ConditionReady, s.ok, s.reason, s.message)
	p.reportRollout(ro)
	switch {
	case len(p.problems) > 0:
		p.degraded(p.problems[0])
	case ro != nil && ro.Phase == v1alpha1.PhaseTakenBack:
		p.degraded(problem{v1alpha1.ReasonTakenBack, fmt.Sprintf("%s was taken back: %s", ro.Revision, ro.Message)})
	default:
		p.set(v1alpha1.ConditionDegraded, false, v1alpha1.ReasonAsExpected, "")
	}
}

func (p *pass) degraded(what problem) {
	if !is(p.app, v1alpha1.ConditionDegraded, what.reason) && what.reason != v1alpha1.ReasonTakenBack {
		p.event(true, what.reason, what.message)
	}
	p.set(v1alpha1.ConditionDegraded, true, what.reason, what.message)
}

func (p *pass) reportRollout(ro *v1alpha1.RolloutStatus) {
	if ro == nil {
		p.set(v1alpha1.ConditionProgressing, false, v1alpha1.ReasonUpToDate, "")
		return
	}
	about := fmt.Sprintf("%s → %s, %d %%", ro.From, ro.Revision, ro.Weight)
	if ro.Message != "" {
		about += ": " + ro.Message
	}
	switch {
	case !shipping(p.app):
		ro.Summary = map[v1alpha1.Phase]string{v1alpha1.PhaseDone: "done", v1alpha1.PhaseTakenBack: "taken back"}[ro.Phase]
		p.set(v1alpha1.ConditionProgressing, false, v1alpha1.ReasonUpToDate, "")
	case ro.Paused == "judge":
		ro.Summary = fmt.Sprintf("%s %d%% paused", ro.Revision, ro.Weight)
		p.set(v1alpha1.ConditionProgressing, true, v1alpha1.ReasonJudgeUnreachable, about)
	case ro.Paused != "":
		ro.Summary = fmt.Sprintf("%s %d%% paused", ro.Revision, ro.Weight)
		p.set(v1alpha1.ConditionProgressing, true, v1alpha1.ReasonPaused, about)
	default:
		p.again = again
		ro.Summary = fmt.Sprintf("%s %d%%", ro.Revision, ro.Weight)
		p.set(v1alpha1.ConditionProgressing, true, v1alpha1.ReasonRolling, about)
	}
}
