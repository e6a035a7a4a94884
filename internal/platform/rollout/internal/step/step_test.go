package step

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func canary(steps ...Step) Plan {
	return Plan{Strategy: v1alpha1.Canary, Steps: append(steps, Step{Weight: 100}), Keep: 5 * time.Second, Deadline: time.Minute, Judged: true}
}

func replacing(judged bool) Plan {
	return Plan{Strategy: Replacing, Steps: []Step{{Weight: 100}}, Keep: 5 * time.Second, Deadline: time.Minute, Judged: judged}
}

func rolling() Plan {
	return Plan{Strategy: v1alpha1.Rolling, Steps: []Step{{Weight: 100}}, Keep: 5 * time.Second, Deadline: time.Minute}
}

func blueGreen() Plan {
	return Plan{Strategy: v1alpha1.BlueGreen, Steps: []Step{{Weight: 100}}, Keep: 5 * time.Second, Deadline: time.Minute}
}

func TestDecide(t *testing.T) {
	starting := func(step int, weight int32) State {
		return State{Phase: v1alpha1.PhaseStarting, Step: step, Weight: weight, Since: start}
	}
	watching := func(step int, weight int32) State {
		return State{Phase: v1alpha1.PhaseWatching, Step: step, Weight: weight, Since: start}
	}
	seen := func(copies, newWant, newReady, oldWant, oldReady int32) Seen {
		return Seen{Copies: copies, New: Side{newWant, newReady}, Old: Side{oldWant, oldReady}, Proven: true}
	}
	two := canary(Step{Weight: 10, Pause: 30 * time.Second}, Step{Weight: 50, Manual: true})
	for name, tt := range map[string]struct {
		plan  Plan
		state State
		seen  Seen
		after time.Duration

		phase    v1alpha1.Phase
		weight   int32
		new, old int32
		says     string
	}{
		"a canary asks for its copies before it gets traffic": {
			two, starting(0, 0), seen(10, 0, 0, 10, 10), 0, v1alpha1.PhaseStarting, 0, 1, 10, "0 of 1 copies ready"},
		"a canary gets its share when its copies are ready": {
			two, starting(0, 0), seen(10, 1, 1, 10, 10), 0, v1alpha1.PhaseWatching, 10, 1, 10, ""},
		"a canary stays for the pause": {
			two, watching(0, 10), seen(10, 1, 1, 10, 10), 29 * time.Second, v1alpha1.PhaseWatching, 10, 1, 10, ""},
		"a canary asks for more copies before it gets more": {
			two, watching(0, 10), seen(10, 1, 1, 10, 10), 30 * time.Second, v1alpha1.PhaseStarting, 10, 5, 10, ""},
		"a manual step waits": {
			two, watching(1, 50), seen(10, 5, 5, 10, 10), time.Hour, v1alpha1.PhaseWatching, 50, 5, 10, "waits at 50 % for promote or resume"},
		"copies that are late take the rollout back": {
			two, starting(1, 10), seen(10, 5, 4, 10, 10), time.Minute, v1alpha1.PhaseTakenBack, 0, 5, 10, "not ready within 1m0s: 4 of 5 copies ready"},
		"the last step keeps the old copies for a while": {
			two, watching(2, 100), seen(10, 10, 10, 10, 10), 4 * time.Second, v1alpha1.PhaseWatching, 100, 10, 10, ""},
		"and then it is done": {
			two, watching(2, 100), seen(10, 10, 10, 10, 10), 5 * time.Second, v1alpha1.PhaseDone, 100, 10, 10, ""},
		"a canary of an app that sleeps needs one copy of each": {
			two, starting(0, 0), seen(0, 0, 0, 0, 0), 0, v1alpha1.PhaseStarting, 0, 1, 1, "0 of 1 copies ready"},
		"a version that never worked is replaced without steps": {
			two, starting(0, 0), Seen{Copies: 1, New: Side{1, 1}, Old: Side{1, 0}}, 0, v1alpha1.PhaseWatching, 100, 1, 1, ""},
		"blue-green needs all its copies": {
			blueGreen(), starting(0, 0), seen(4, 4, 3, 4, 4), 0, v1alpha1.PhaseStarting, 0, 4, 4, "3 of 4 copies ready"},
		"blue-green then gets everything": {
			blueGreen(), starting(0, 0), seen(4, 4, 4, 4, 4), 0, v1alpha1.PhaseWatching, 100, 4, 4, ""},
		"rolling begins with a quarter": {
			rolling(), starting(0, 0), seen(8, 0, 0, 8, 8), 0, v1alpha1.PhaseStarting, 0, 2, 8, "0 of 8 copies ready"},
		"rolling gives traffic to what is ready and stops as many": {
			rolling(), starting(0, 0), seen(8, 2, 2, 8, 8), 0, v1alpha1.PhaseStarting, 25, 4, 6, "2 of 8 copies ready"},
		"rolling keeps a few old copies until the new ones are watched": {
			rolling(), starting(0, 75), seen(8, 8, 8, 2, 2), 0, v1alpha1.PhaseWatching, 100, 8, 2, ""},
		"rolling of a sleeping app wakes the new one only": {
			rolling(), starting(0, 0), seen(0, 1, 1, 0, 0), 0, v1alpha1.PhaseWatching, 100, 1, 0, ""},
		"replacing begins with one copy": {
			replacing(true), starting(0, 0), seen(4, 0, 0, 4, 4), 0, v1alpha1.PhaseStarting, 0, 1, 3, "0 of 1 copies ready"},
		"replacing watches each copy for a while": {
			replacing(true), watching(0, 25), seen(4, 1, 1, 3, 3), 4 * time.Second, v1alpha1.PhaseWatching, 25, 1, 3, ""},
		"and then goes on to the next": {
			replacing(true), watching(0, 25), seen(4, 1, 1, 3, 3), 5 * time.Second, v1alpha1.PhaseStarting, 25, 2, 2, ""},
		"replacing goes on at once when nobody judges": {
			replacing(false), starting(0, 0), seen(4, 1, 1, 3, 3), 0, v1alpha1.PhaseStarting, 25, 2, 2, ""},
		"replacing is done with the last copy": {
			replacing(false), starting(3, 75), seen(4, 4, 4, 0, 0), 0, v1alpha1.PhaseDone, 100, 4, 0, ""},
		"a copy that is late in its place takes all of them back": {
			replacing(false), starting(2, 50), seen(4, 3, 2, 1, 1), time.Minute, v1alpha1.PhaseTakenBack, 0, 0, 4, "not ready within 1m0s: 2 of 3 copies ready"},
		"rolling never gives traffic back for a copy that fails for a moment": {
			rolling(), starting(0, 50), seen(8, 6, 3, 4, 4), 0, v1alpha1.PhaseStarting, 50, 6, 5, "3 of 8 copies ready"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Decide(tt.plan, tt.state, tt.seen, start.Add(tt.after))
			if got.Phase != tt.phase || got.Weight != tt.weight || got.New != tt.new || got.Old != tt.old || got.Message != tt.says {
				t.Errorf("Decide = %s %d%% new=%d old=%d %q, want %s %d%% new=%d old=%d %q",
					got.Phase, got.Weight, got.New, got.Old, got.Message, tt.phase, tt.weight, tt.new, tt.old, tt.says)
			}
		})
	}
}

func TestABadVerdictTakesBackInEveryPhase(t *testing.T) {
	for name, plan := range map[string]Plan{"canary": canary(Step{Weight: 10, Pause: time.Minute}), "rolling": rolling(), "blueGreen": blueGreen()} {
		for _, s := range []State{
			{Phase: v1alpha1.PhaseStarting, Weight: 10, Since: start},
			{Phase: v1alpha1.PhaseWatching, Weight: 100, Since: start},
			{Phase: v1alpha1.PhaseWatching, Weight: 10, Since: start, Paused: ByUser},
		} {
			got := Decide(plan, s, Seen{Copies: 4, New: Side{4, 4}, Old: Side{4, 4}, Proven: true, Verdict: Verdict{Bad: true, Reason: "it fails"}}, start)
			if got.Phase != v1alpha1.PhaseTakenBack || got.Weight != 0 || got.Message != "it fails" || got.Old != 4 {
				t.Errorf("%s, %s: Decide = %+v, want it taken back because it fails", name, s.Phase, got)
			}
		}
	}
}

func TestASilentJudgePausesAndTheStepStartsAgain(t *testing.T) {
	plan := canary(Step{Weight: 10, Pause: 10 * time.Second})
	seen := Seen{Copies: 1, New: Side{1, 1}, Old: Side{1, 1}, Proven: true, Verdict: Verdict{Err: errors.New("refused")}}
	s := State{Phase: v1alpha1.PhaseWatching, Weight: 10, Since: start}
	got := Decide(plan, s, seen, start.Add(time.Minute))
	if got.Paused != ByJudge || !strings.Contains(got.Message, "refused") || got.Weight != 10 || got.Step != 0 {
		t.Fatalf("Decide = %+v, want a pause that names the judge's error", got)
	}
	seen.Verdict = Verdict{}
	got = Decide(plan, got.State, seen, start.Add(2*time.Minute))
	if got.Paused != NotPaused || got.Step != 0 || !got.Since.Equal(start.Add(2*time.Minute)) {
		t.Errorf("Decide = %+v, want the step to start again", got)
	}
	silent := Seen{Copies: 1, New: Side{1, 1}, Old: Side{1, 1}, Proven: true, Verdict: Verdict{Err: errors.New("refused")}}
	if got := Decide(rolling(), Begin(start), silent, start); got.Paused != NotPaused {
		t.Errorf("Decide = %+v: a judge that nobody asked for must not stop a rolling update", got)
	}
}

func TestCommands(t *testing.T) {
	plan := canary(Step{Weight: 10, Pause: time.Minute}, Step{Weight: 50, Manual: true})
	for name, tt := range map[string]struct {
		state   State
		command string
		phase   v1alpha1.Phase
		step    int
		paused  Pause
	}{
		"pause stays": {
			State{Phase: v1alpha1.PhaseWatching, Weight: 10, Since: start}, v1alpha1.CommandPause, v1alpha1.PhaseWatching, 0, ByUser},
		"resume after a pause stays in the step": {
			State{Phase: v1alpha1.PhaseWatching, Weight: 10, Since: start, Paused: ByUser}, v1alpha1.CommandResume, v1alpha1.PhaseWatching, 0, NotPaused},
		"resume at a manual step goes on": {
			State{Phase: v1alpha1.PhaseWatching, Step: 1, Weight: 50, Since: start, Paused: ByStep}, v1alpha1.CommandResume, v1alpha1.PhaseStarting, 2, NotPaused},
		"promote leaves the steps out": {
			State{Phase: v1alpha1.PhaseWatching, Weight: 10, Since: start}, v1alpha1.CommandPromote, v1alpha1.PhaseStarting, 2, NotPaused},
		"abort takes back": {
			State{Phase: v1alpha1.PhaseWatching, Weight: 10, Since: start}, v1alpha1.CommandAbort, v1alpha1.PhaseTakenBack, 0, NotPaused},
	} {
		t.Run(name, func(t *testing.T) {
			got := Decide(plan, tt.state, Seen{Copies: 4, New: Side{1, 1}, Old: Side{4, 4}, Proven: true, Command: tt.command}, start.Add(time.Hour))
			if got.Phase != tt.phase || got.Step != tt.step || got.Paused != tt.paused {
				t.Errorf("Decide(%s) = %s step %d paused %q, want %s step %d paused %q", tt.command, got.Phase, got.Step, got.Paused, tt.phase, tt.step, tt.paused)
			}
		})
	}
}

// Whatever happens, there are ready copies for the traffic that each side has.
func TestRollingNeverTakesCopiesThatServe(t *testing.T) {
	for n := int32(1); n <= 12; n++ {
		s, newWant, newReady, oldWant := Begin(start), int32(0), int32(0), n
		now := start
		for s.Phase != v1alpha1.PhaseDone && now.Sub(start) < time.Hour {
			got := Decide(Plan{Strategy: v1alpha1.Rolling, Steps: []Step{{Weight: 100}}, Keep: 2 * time.Second},
				s, Seen{Copies: n, New: Side{newWant, newReady}, Old: Side{oldWant, oldWant}, Proven: true}, now)
			if newReady+got.Old < n {
				t.Fatalf("n=%d: %d new and %d old copies for the work of %d", n, newReady, got.Old, n)
			}
			if got.Weight > 0 && newReady == 0 || got.Weight < 100 && got.Old == 0 {
				t.Fatalf("n=%d: weight %d with %d new and %d old copies", n, got.Weight, newReady, got.Old)
			}
			if got.New+got.Old > n+(n+3)/4+(n+3)/4 {
				t.Fatalf("n=%d: %d copies at once", n, got.New+got.Old)
			}
			s, newWant, oldWant = got.State, got.New, got.Old
			newReady = min(newReady+1, newWant)
			now = now.Add(time.Second)
		}
		if s.Phase != v1alpha1.PhaseDone || newReady != n {
			t.Errorf("n=%d: ended in %s with %d copies", n, s.Phase, newReady)
		}
	}
}

func TestNewPlan(t *testing.T) {
	for name, tt := range map[string]struct {
		in   *v1alpha1.Rollout
		want string
	}{
		"nothing asked for is rolling":              {nil, "rolling 100"},
		"a canary without steps gets some":          {&v1alpha1.Rollout{Strategy: v1alpha1.Canary}, "canary 10 25 50 100"},
		"all the traffic follows after the last":    {&v1alpha1.Rollout{Strategy: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 5, Pause: "1s"}}}, "canary 5 100"},
		"a last step of 100 is not repeated":        {&v1alpha1.Rollout{Strategy: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 100, Pause: "1m"}}}, "canary 100"},
		"ab waits for a person":                     {&v1alpha1.Rollout{Strategy: v1alpha1.AB}, "ab 0m 100"},
		"a pause that is no duration is an error":   {&v1alpha1.Rollout{Strategy: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 5, Pause: "soon"}}}, "error"},
		"a manual pause has no time":                {&v1alpha1.Rollout{Strategy: v1alpha1.BlueGreen, Steps: []v1alpha1.Step{{Weight: 0, Pause: "manual"}}}, "blueGreen 0m 100"},
		"without a judge the old copies go at once": {&v1alpha1.Rollout{Judge: &v1alpha1.Judge{Off: true}, Keep: &metav1.Duration{}}, "rolling 100"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := NewPlan(tt.in)
			got := []string{string(p.Strategy)}
			for _, s := range p.Steps {
				text := strings.TrimSuffix(time.Duration(s.Weight).String(), "ns")
				if text == "0s" {
					text = "0"
				}
				if s.Manual {
					text += "m"
				}
				got = append(got, text)
			}
			if err != nil {
				got = []string{"error"}
			}
			if g := strings.Join(got, " "); g != tt.want {
				t.Errorf("NewPlan = %s (%v), want %s", g, err, tt.want)
			}
		})
	}
}
