// Package scale decides how many copies an app needs.
//
// A Scaler is asked at least once a second. It rises at once, because a request that
// waits is seen by a user; it falls when fewer copies have been enough for a
// while, because a copy that idles is seen by nobody. What cannot be measured
// never takes a copy away.
package scale

import (
	"fmt"
	"math"
	"time"
)

// Settings are the limits that hold now.
type Settings struct {
	Min, Max      int32
	Idle          time.Duration // before the last copy goes
	Stabilisation time.Duration // before the number falls
	Held          bool          // a copy is needed although nobody asks: a version is being tried
}

// Need is what one metric asks for.
type Need struct {
	Name   string  // inFlight, rps, …
	Value  float64 // what is measured over all copies, or per copy
	Target float64 // what one copy should have
	// PerCopy says that Value is an average over copies, as latency is, so that
	// the answer is in proportion to the copies that are ready.
	PerCopy bool
	Err     error // it could not be measured
}

// Load is what is measured now.
type Load struct {
	Needs []Need
	// Active says that a request was made or waits; Known that somebody looked.
	Active, Known bool
	Woken         time.Time // when the gateway last asked for a copy
}

// Answer is how many copies, and why.
type Answer struct {
	Copies int32
	Reason string
	Errs   []error // metrics that could not be read
}

// tolerance is how far a metric may be below its target before the number
// falls: noise must not turn a copy on and off.
const tolerance = 0.1

// Scaler remembers what was needed of late. It is not safe for concurrent use.
// Its zero value knows nothing yet, and so takes nothing away at first.
type Scaler struct {
	active time.Time // when the app was last asked for
	needed []peak    // falling from the oldest to the newest
	began  time.Time
}

type peak struct {
	at     time.Time
	copies int32
}

// Decide says how many copies there should be when there are ready and wanted
// ones now.
func (s *Scaler) Decide(set Settings, load Load, wanted, ready int32, now time.Time) Answer {
	if s.began.IsZero() {
		s.began, s.active = now, now
		if wanted == 0 {
			s.active = time.Time{} // asleep already, and so it stays until somebody asks
		}
	}
	if load.Active || set.Held {
		s.active = now
	}
	if load.Woken.After(s.active) {
		s.active = load.Woken
	}
	a := s.need(load, wanted, ready)
	if !load.Known && a.Copies < wanted {
		a.Copies, a.Reason = wanted, "the load is not known"
	}
	// The copy that an idle app keeps is not remembered as needed: Idle alone
	// says when it goes.
	s.remember(a.Copies, set.Stabilisation, now)
	awake := now.Sub(s.active) < set.Idle
	if awake && a.Copies == 0 {
		a.Copies = 1
		if a.Reason == "" {
			a.Reason = "asked for of late"
		}
	}
	if top := s.needed[0]; a.Copies < wanted && top.copies > a.Copies {
		held := min(top.copies, wanted)
		if held > a.Copies {
			a.Copies, a.Reason = held, fmt.Sprintf("needed within the last %s", set.Stabilisation)
		}
	}
	if now.Sub(s.began) < set.Stabilisation && a.Copies < wanted && wanted > 0 {
		a.Copies, a.Reason = wanted, "watching since a moment only"
	}
	return s.limit(a, set, awake)
}

// limit keeps an answer between the limits.
func (s *Scaler) limit(a Answer, set Settings, awake bool) Answer {
	low, high := set.Min, max(set.Max, set.Min)
	if set.Held {
		low = max(low, 1)
	}
	switch {
	case a.Copies < low:
		a.Copies, a.Reason = low, "the least allowed"
	case a.Copies > high:
		a.Copies, a.Reason = high, "the most allowed; "+a.Reason
	case a.Copies == 0 && !awake:
		a.Reason = fmt.Sprintf("nobody has asked for %s", set.Idle)
	}
	return a
}

// need is what the load asks for, whatever was before.
func (s *Scaler) need(load Load, wanted, ready int32) Answer {
	var a Answer
	for _, n := range load.Needs {
		if n.Err != nil {
			a.Errs = append(a.Errs, fmt.Errorf("%s: %w", n.Name, n.Err))
			if wanted > a.Copies {
				a.Copies, a.Reason = wanted, n.Name+" is not known"
			}
			continue
		}
		c := copies(n, ready)
		if c < wanted && copies(Need{Value: n.Value * (1 + tolerance), Target: n.Target, PerCopy: n.PerCopy}, ready) >= wanted {
			c = wanted
		}
		if c > a.Copies {
			a.Copies, a.Reason = c, fmt.Sprintf("%s %s for a target of %s", n.Name, short(n.Value), short(n.Target))
		}
	}
	return a
}

// copies is how many copies bring a metric to its target.
func copies(n Need, ready int32) int32 {
	if n.Target <= 0 || n.Value <= 0 {
		return 0
	}
	v := n.Value / n.Target
	if n.PerCopy {
		// A copy that is slow while it starts must not make hundreds.
		v = float64(ready) * min(v, 2)
	}
	return int32(min(math.Ceil(v-1e-9), math.MaxInt16))
}

// remember keeps the greatest numbers of the last while: a number that is
// followed by a greater one can never be the answer again.
func (s *Scaler) remember(copies int32, keep time.Duration, now time.Time) {
	for len(s.needed) > 0 && s.needed[len(s.needed)-1].copies <= copies {
		s.needed = s.needed[:len(s.needed)-1]
	}
	s.needed = append(s.needed, peak{now, copies})
	for len(s.needed) > 1 && now.Sub(s.needed[0].at) >= keep {
		s.needed = s.needed[1:]
	}
}

func short(v float64) string { return fmt.Sprintf("%.4g", v) }
