// Package step decides how a rollout goes on.
//
// Decide is a function of what the app wants, how far the rollout is, what is
// seen, and the time: it changes nothing and remembers nothing, so a daemon
// that was killed goes on where it was.
//
// Three promises hold in every strategy. Traffic moves to copies that are
// ready, never to copies that are wanted. Copies of the old revision go only
// when the traffic that they served has somewhere to go. Whatever is not
// understood (a judge that does not answer, a copy that does not start) leaves
// the traffic where it is.
package step

import (
	"fmt"
	"math"
	"time"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// Replacing is the strategy of copies that have a place of their own, a volume
// or a node: a new copy takes the place of an old one, one at a time. It is in no
// app's words, but follows from what the app is.
const Replacing v1alpha1.Strategy = "replacing"

// Plan is how an app wants its next version shipped.
type Plan struct {
	Strategy v1alpha1.Strategy
	Steps    []Step        // the last has weight 100
	Keep     time.Duration // how long the old copies stay after the last step
	Deadline time.Duration // how long copies may take to be ready
	Judged   bool          // whether the user asked for a judge, so that a silent one stops the rollout
}

// Step is a share of the traffic and how long to stay there.
type Step struct {
	Weight int32
	Pause  time.Duration
	Manual bool
}

// State is how far a rollout is. It is kept in the app's status.
type State struct {
	Phase   v1alpha1.Phase
	Step    int
	Weight  int32
	Since   time.Time // since when in this phase of this step
	Paused  Pause
	Message string
}

// Pause says who has stopped a rollout where it is.
type Pause string

// Who may pause a rollout.
const (
	NotPaused Pause = ""
	ByUser    Pause = "user"
	ByStep    Pause = "step"
	ByJudge   Pause = "judge"
)

// Side is the copies of one revision.
type Side struct {
	Want  int32 // what its workload asks for now
	Ready int32
}

// Verdict is what the judge says about the new revision.
type Verdict struct {
	Bad    bool
	Reason string
	Err    error // the judge could not be asked
}

// Seen is what Decide is told.
type Seen struct {
	Copies  int32 // how many the app needs now
	New     Side
	Old     Side
	Proven  bool // a copy of the old revision has been ready once
	Fault   string
	Verdict Verdict
	Command string // one of v1alpha1's commands, or none
	Reason  string // with CommandAbort: why
}

// Next is what to do now.
type Next struct {
	State
	New int32 // copies of each revision
	Old int32
}

// Begin is the state in which a rollout starts.
func Begin(now time.Time) State {
	return State{Phase: v1alpha1.PhaseStarting, Since: now}
}

// Decide says how the rollout goes on. A rollout that is over stays as it is.
func Decide(p Plan, s State, seen Seen, now time.Time) Next {
	if s.Phase == v1alpha1.PhaseDone || s.Phase == v1alpha1.PhaseTakenBack {
		return Next{State: s, New: seen.New.Want, Old: seen.Copies}
	}
	d := decision{plan: p, seen: seen, now: now, n: max(1, seen.Copies), s: s}
	// The user may have made the plan shorter meanwhile.
	d.s.Step = min(d.s.Step, d.last())
	d.command()
	if d.over() || d.judge() {
		return d.next()
	}
	if !seen.Proven && seen.Old.Ready == 0 && seen.New.Ready > 0 {
		// The old revision has never worked: there is no traffic to protect.
		d.s.Step = d.last()
	}
	switch p.Strategy {
	case v1alpha1.Rolling, "":
		d.roll()
	case Replacing:
		d.replace()
	default:
		d.step()
	}
	return d.next()
}

// decision is one decision being made.
type decision struct {
	plan Plan
	seen Seen
	now  time.Time
	n    int32 // copies that the whole traffic needs
	s    State
}

// last is the last step. Where copies are replaced each is a step.
func (d *decision) last() int {
	if d.plan.Strategy == Replacing {
		return int(d.n) - 1
	}
	return len(d.plan.Steps) - 1
}

func (d *decision) over() bool {
	return d.s.Phase == v1alpha1.PhaseDone || d.s.Phase == v1alpha1.PhaseTakenBack
}

// enter begins a phase.
func (d *decision) enter(p v1alpha1.Phase) {
	d.s.Phase, d.s.Since, d.s.Paused, d.s.Message = p, d.now, NotPaused, ""
}

// takeBack gives all traffic to the old revision.
func (d *decision) takeBack(why string) {
	d.enter(v1alpha1.PhaseTakenBack)
	d.s.Weight, d.s.Message = 0, why
}

func (d *decision) command() {
	switch d.seen.Command {
	case v1alpha1.CommandAbort:
		why := d.seen.Reason
		if why == "" {
			why = "aborted by a command"
		}
		d.takeBack(why)
	case v1alpha1.CommandPause:
		d.s.Paused, d.s.Message = ByUser, "paused by a command"
	case v1alpha1.CommandResume:
		waited := d.s.Paused == ByStep
		d.s.Paused, d.s.Message, d.s.Since = NotPaused, "", d.now
		if waited {
			d.advance()
		}
	case v1alpha1.CommandPromote:
		d.s.Paused, d.s.Message = NotPaused, ""
		if last := d.last(); d.s.Step < last {
			d.s.Step = last
			d.enter(v1alpha1.PhaseStarting)
		}
	}
}

// judge takes a bad version back and stops where the judge is silent. It
// reports whether the decision is made.
func (d *decision) judge() bool {
	v := d.seen.Verdict
	if v.Bad {
		d.takeBack(v.Reason)
		return true
	}
	if v.Err != nil && d.plan.Judged {
		if d.s.Paused == NotPaused || d.s.Paused == ByJudge {
			d.s.Paused = ByJudge
			d.s.Message = fmt.Sprintf("the judge cannot be asked: %v", v.Err)
		}
	} else if d.s.Paused == ByJudge {
		// What nobody watched does not count: the step starts again.
		d.s.Paused, d.s.Message, d.s.Since = NotPaused, "", d.now
	}
	return false
}

// late takes a version back whose copies are not ready in time. While it
// waits, it says what it waits for.
func (d *decision) late(need int32) bool {
	d.s.Message = fmt.Sprintf("%d of %d copies ready", d.seen.New.Ready, need)
	if d.seen.Fault != "" {
		d.s.Message += ": " + d.seen.Fault
	}
	if d.plan.Deadline > 0 && d.now.Sub(d.s.Since) >= d.plan.Deadline {
		d.takeBack(fmt.Sprintf("not ready within %s: %s", d.plan.Deadline, d.s.Message))
		return true
	}
	return false
}

// needs is how many copies serve a share of the traffic.
func (d *decision) needs(weight int32) int32 {
	if d.plan.Strategy == v1alpha1.BlueGreen {
		return d.n
	}
	return max(1, int32(math.Ceil(float64(d.n)*float64(weight)/100)))
}

// step goes through the steps of canary, blueGreen and ab.
func (d *decision) step() {
	at := d.plan.Steps[d.s.Step]
	if d.s.Phase == v1alpha1.PhaseStarting {
		if d.s.Paused == ByUser || d.s.Paused == ByJudge {
			return
		}
		need := d.needs(at.Weight)
		if d.seen.New.Ready < need {
			d.late(need)
			return
		}
		d.enter(v1alpha1.PhaseWatching)
		d.s.Weight = at.Weight
	}
	if d.s.Paused == ByUser || d.s.Paused == ByJudge {
		return
	}
	if at.Manual {
		d.s.Paused, d.s.Message = ByStep, fmt.Sprintf("waits at %d %% for promote or resume", at.Weight)
		return
	}
	pause := at.Pause
	if d.s.Step == len(d.plan.Steps)-1 {
		pause = max(pause, d.plan.Keep)
	}
	if d.now.Sub(d.s.Since) >= pause {
		d.advance()
	}
}

// advance goes to the next step, or ends the rollout after the last.
func (d *decision) advance() {
	if d.s.Step < len(d.plan.Steps)-1 {
		d.s.Step++
		d.enter(v1alpha1.PhaseStarting)
		return
	}
	d.enter(v1alpha1.PhaseDone)
	d.s.Weight = 100
}

// surge is how many copies a rolling update adds at a time.
func (d *decision) surge() int32 { return max(1, (d.n+3)/4) }

// roll moves traffic to new copies as they get ready.
func (d *decision) roll() {
	if d.s.Paused == ByUser || d.s.Paused == ByJudge {
		return
	}
	if d.s.Phase == v1alpha1.PhaseStarting {
		// The weight never falls back: a new copy that fails for a moment is
		// the endpoints' matter, a version that fails is the judge's.
		share := d.seen.New.Ready * 100 / d.n
		d.s.Weight = min(100, max(d.s.Weight, share))
		if d.seen.Old.Want == 0 && d.seen.New.Ready > 0 {
			d.s.Weight = 100 // the old one sleeps
		}
		if d.s.Weight < 100 {
			d.late(d.n)
			return
		}
		d.enter(v1alpha1.PhaseWatching)
	}
	if d.now.Sub(d.s.Since) >= d.plan.Keep {
		d.enter(v1alpha1.PhaseDone)
	}
}

// replace lets one more copy be replaced when those before are ready and, with a
// judge, have been watched for a while.
func (d *decision) replace() {
	if d.s.Paused == ByUser || d.s.Paused == ByJudge {
		return
	}
	allowed := int32(d.s.Step) + 1
	if d.s.Phase == v1alpha1.PhaseStarting {
		d.s.Weight = max(d.s.Weight, min(100, d.seen.New.Ready*100/d.n))
		if d.seen.New.Ready < allowed {
			d.late(allowed)
			return
		}
		d.enter(v1alpha1.PhaseWatching)
	}
	if d.plan.Judged && d.now.Sub(d.s.Since) < d.plan.Keep {
		return
	}
	if allowed < d.n {
		d.s.Step++
		d.enter(v1alpha1.PhaseStarting)
		return
	}
	d.enter(v1alpha1.PhaseDone)
	d.s.Weight = 100
}

// next says how many copies belong to the state.
func (d *decision) next() Next {
	out := Next{State: d.s, Old: d.seen.Copies}
	switch {
	case d.plan.Strategy == Replacing && d.s.Phase == v1alpha1.PhaseTakenBack:
		out.New, out.Old = 0, d.n
	case d.plan.Strategy == Replacing:
		out.New = min(d.n, int32(d.s.Step)+1)
		out.Old = d.n - out.New
	case d.s.Phase == v1alpha1.PhaseTakenBack:
		// The workload of the new one leaves as it is: requests may still be in it.
		out.New = d.seen.New.Want
	case d.s.Phase == v1alpha1.PhaseDone:
		out.New, out.Old = max(d.n, d.seen.New.Want), d.seen.Old.Want
	case d.plan.Strategy == v1alpha1.Rolling || d.plan.Strategy == "":
		out.New = max(min(d.n, d.seen.New.Ready+d.surge()), min(d.n, d.seen.New.Want))
		// A few old copies stay until the new ones have proved themselves.
		rest := max(d.n-d.seen.New.Ready, min(d.surge(), d.n))
		out.Old = min(rest, d.seen.Copies)
		if d.s.Weight < 100 && d.seen.Old.Want > 0 {
			out.Old = max(out.Old, 1)
		}
	default:
		out.New = d.needs(d.plan.Steps[d.s.Step].Weight)
		if d.s.Step > 0 {
			out.New = max(out.New, d.needs(d.s.Weight))
		}
		out.Old = d.n
	}
	return out
}
