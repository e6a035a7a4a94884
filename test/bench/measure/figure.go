package measure

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Figure is one thing measured.
type Figure struct {
	Name string `json:"name"` // short and stable: docs/promises.md refers to it
	What string `json:"what"`
	Unit string `json:"unit"`
	More bool   `json:"more,omitempty"` // more is better
	Goal Goal   `json:"goal"`
	Rows []Row  `json:"rows"` // ours first
}

// Goal is what the first row is held to. Its zero value is no goal.
type Goal struct {
	Median float64            `json:"median,omitempty"` // at most
	P99    float64            `json:"p99,omitempty"`    // at most
	Least  float64            `json:"least,omitempty"`  // median, at least
	Times  map[string]float64 `json:"times,omitempty"`  // at least so many times better than that row
}

// Row is what one contestant showed.
type Row struct {
	Who    string    `json:"who"`
	Note   string    `json:"note,omitempty"` // what is different from the others
	Values []float64 `json:"values"`
	Err    string    `json:"error,omitempty"` // why there are no more values
}

// Median is the middle value, and NaN without values.
func (r Row) Median() float64 { return quantile(r.Values, 0.5) }

// P99 is the value that all but one in a hundred stay below; with fewer than a
// hundred values it is the greatest.
func (r Row) P99() float64 { return quantile(r.Values, 0.99) }

// quantile is by the nearest rank: always a value that was measured.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// Missed lists what the first row misses of the goal.
func (f Figure) Missed() []string {
	if len(f.Rows) == 0 || len(f.Rows[0].Values) == 0 {
		return []string{"not measured"}
	}
	ours := f.Rows[0]
	var missed []string
	if f.Goal.Median > 0 && ours.Median() > f.Goal.Median {
		missed = append(missed, fmt.Sprintf("median %s, goal ≤ %s %s", number(ours.Median()), number(f.Goal.Median), f.Unit))
	}
	if f.Goal.Least > 0 && ours.Median() < f.Goal.Least {
		missed = append(missed, fmt.Sprintf("median %s, goal ≥ %s %s", number(ours.Median()), number(f.Goal.Least), f.Unit))
	}
	if f.Goal.P99 > 0 && ours.P99() > f.Goal.P99 {
		missed = append(missed, fmt.Sprintf("p99 %s, goal ≤ %s %s", number(ours.P99()), number(f.Goal.P99), f.Unit))
	}
	for _, who := range slices.Sorted(maps.Keys(f.Goal.Times)) {
		want := f.Goal.Times[who]
		i := slices.IndexFunc(f.Rows, func(r Row) bool { return r.Who == who && len(r.Values) > 0 })
		if i < 0 {
			missed = append(missed, who+" was not measured")
		} else if got := f.times(f.Rows[i]); got < want {
			missed = append(missed, fmt.Sprintf("%s × %s, goal ≥ %s ×", number(got), who, number(want)))
		}
	}
	return missed
}

// times is how many times better ours is than another's.
func (f Figure) times(other Row) float64 {
	if f.More {
		return f.Rows[0].Median() / other.Median()
	}
	return other.Median() / f.Rows[0].Median()
}

// Milliseconds is d in the unit of most figures.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
