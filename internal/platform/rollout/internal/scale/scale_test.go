package scale

import (
	"errors"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func settings() Settings {
	return Settings{Min: 0, Max: 50, Idle: time.Minute, Stabilisation: 10 * time.Second}
}

func inFlight(v float64) Load {
	return Load{Known: true, Active: v > 0, Needs: []Need{{Name: "inFlight", Value: v, Target: 10}}}
}

// after is a scaler that has seen load for a while.
func after(load Load, copies int32) *Scaler {
	s := &Scaler{}
	for i := range 30 {
		s.Decide(settings(), load, copies, copies, start.Add(time.Duration(i-30)*time.Second))
	}
	return s
}

func TestDecide(t *testing.T) {
	slow := Load{Known: true, Active: true, Needs: []Need{{Name: "latency", Value: 0.9, Target: 0.1, PerCopy: true}}}
	for name, tt := range map[string]struct {
		before Load
		copies int32
		load   Load
		set    func(*Settings)
		want   int32
	}{
		"more load is answered at once":                  {inFlight(10), 1, inFlight(500), nil, 50},
		"and bounded":                                    {inFlight(10), 1, inFlight(5000), nil, 50},
		"less load is not answered at once":              {inFlight(500), 50, inFlight(10), nil, 50},
		"the same load stays":                            {inFlight(42), 5, inFlight(42), nil, 5},
		"a little less load stays":                       {inFlight(41), 5, inFlight(39), nil, 5},
		"a load that is not known takes nothing away":    {inFlight(50), 5, Load{Needs: inFlight(0).Needs}, nil, 5},
		"a metric that cannot be read takes nothing":     {inFlight(50), 5, Load{Known: true, Active: true, Needs: []Need{{Name: "http", Target: 1, Err: errors.New("refused")}}}, nil, 5},
		"a slow answer at most doubles":                  {slow, 4, slow, nil, 8},
		"the metric that asks for most counts":           {inFlight(10), 1, Load{Known: true, Needs: []Need{{Value: 10, Target: 10}, {Value: 90, Target: 10}}}, nil, 9},
		"a greater minimum holds at once":                {inFlight(10), 1, inFlight(10), func(s *Settings) { s.Min = 7 }, 7},
		"a smaller maximum holds at once":                {inFlight(500), 50, inFlight(500), func(s *Settings) { s.Max = 3 }, 3},
		"a request that waits for a copy wakes":          {inFlight(0), 0, inFlight(1), nil, 1},
		"nobody asks: it stays asleep":                   {inFlight(0), 0, inFlight(0), nil, 0},
		"the gateway's word wakes":                       {inFlight(0), 0, Load{Known: true, Woken: start}, nil, 1},
		"the gateway's word wakes when nobody counts":    {inFlight(0), 0, Load{Woken: start}, nil, 1},
		"an old word of the gateway does not":            {inFlight(0), 0, Load{Known: true, Woken: start.Add(-time.Hour)}, nil, 0},
		"a version that is being tried keeps its copies": {inFlight(0), 0, inFlight(0), func(s *Settings) { s.Held = true }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := after(tt.before, tt.copies)
			set := settings()
			if tt.set != nil {
				tt.set(&set)
			}
			if got := s.Decide(set, tt.load, tt.copies, tt.copies, start); got.Copies != tt.want {
				t.Errorf("Decide = %d (%s), want %d", got.Copies, got.Reason, tt.want)
			}
		})
	}
}

func TestTheNumberFallsAfterTheStabilisationAndToZeroAfterTheIdleTime(t *testing.T) {
	s := after(inFlight(500), 50)
	copies, when := int32(50), map[int32]int{}
	for i := range 120 {
		copies = s.Decide(settings(), inFlight(0), copies, copies, start.Add(time.Duration(i)*time.Second)).Copies
		if _, ok := when[copies]; !ok {
			when[copies] = i
		}
	}
	if at, ok := when[1]; !ok || at < 8 || at > 11 {
		t.Errorf("one copy after %d s, %v; want about 10", at, when)
	}
	if at, ok := when[0]; !ok || at < 58 || at > 61 {
		t.Errorf("none after %d s, %v; want about 60", at, when)
	}
}

func TestALoadThatComesAndGoesDoesNotFlap(t *testing.T) {
	s := after(inFlight(100), 10)
	copies, changes := int32(10), 0
	for i := range 300 {
		load := inFlight(100)
		if i%6 < 3 {
			load = inFlight(10)
		}
		next := s.Decide(settings(), load, copies, copies, start.Add(time.Duration(i)*time.Second)).Copies
		if next != copies {
			changes++
		}
		copies = next
	}
	if changes > 0 {
		t.Errorf("the number changed %d times under a load that comes every 6 s, want never", changes)
	}
}

func TestANewScalerTakesNothingAwayAtFirst(t *testing.T) {
	s := &Scaler{}
	if got := s.Decide(settings(), inFlight(0), 20, 20, start); got.Copies != 20 {
		t.Errorf("Decide = %d (%s), want the 20 that are there", got.Copies, got.Reason)
	}
}
