package step

import (
	"fmt"
	"time"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// For unset fields of a Rollout.
const (
	defaultDeadline = 10 * time.Minute
	defaultWindow   = 5 * time.Second
	defaultPause    = 30 * time.Second
)

// NewPlan makes a plan of what an app asks for; r may be nil.
func NewPlan(r *v1alpha1.Rollout) (Plan, error) {
	if r == nil {
		r = &v1alpha1.Rollout{}
	}
	p := Plan{Strategy: r.Strategy, Deadline: defaultDeadline, Keep: Window(r)}
	if p.Strategy == "" {
		p.Strategy = v1alpha1.Rolling
	}
	if r.Deadline != nil {
		p.Deadline = r.Deadline.Duration
	}
	if r.Judge != nil && r.Judge.Off {
		p.Keep = 0
	} else {
		p.Judged = r.Judge != nil || p.Strategy == v1alpha1.Canary
	}
	if r.Keep != nil {
		p.Keep = r.Keep.Duration
	}
	for i, s := range r.Steps {
		at := Step{Weight: s.Weight, Manual: s.Pause == "manual"}
		if s.Pause == "" {
			at.Pause = defaultPause
		} else if !at.Manual {
			pause, err := time.ParseDuration(s.Pause)
			if err != nil {
				return Plan{}, fmt.Errorf("step %d: pause: %w: %w", i+1, err, fault.Invalid)
			}
			at.Pause = pause
		}
		p.Steps = append(p.Steps, at)
	}
	if len(r.Steps) == 0 {
		p.Steps = defaultSteps(p.Strategy)
	}
	if last := len(p.Steps) - 1; last < 0 || p.Steps[last].Weight < 100 {
		p.Steps = append(p.Steps, Step{Weight: 100})
	}
	return p, nil
}

func defaultSteps(s v1alpha1.Strategy) []Step {
	switch s {
	case v1alpha1.Canary:
		return []Step{{Weight: 10, Pause: defaultPause}, {Weight: 25, Pause: defaultPause}, {Weight: 50, Pause: defaultPause}}
	case v1alpha1.AB:
		return []Step{{Weight: 0, Manual: true}}
	default:
		return nil
	}
}

// Window is the time over which the judge counts.
func Window(r *v1alpha1.Rollout) time.Duration {
	if r != nil && r.Judge != nil && r.Judge.Window != nil && r.Judge.Window.Duration > 0 {
		return r.Judge.Window.Duration
	}
	return defaultWindow
}
