package measure

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuantilesAreMeasuredValues(t *testing.T) {
	for name, tt := range map[string]struct {
		values      []float64
		median, p99 float64
	}{
		"one value is both":                      {[]float64{7}, 7, 7},
		"order does not matter":                  {[]float64{9, 1, 5}, 5, 9},
		"an even count takes the lower middle":   {[]float64{4, 1, 3, 2}, 2, 4},
		"of two hundred, p99 leaves two outside": {count(200), 100, 198},
	} {
		t.Run(name, func(t *testing.T) {
			r := Row{Values: tt.values}
			if r.Median() != tt.median || r.P99() != tt.p99 {
				t.Errorf("median, p99 of %v = %v, %v; want %v, %v", tt.values, r.Median(), r.P99(), tt.median, tt.p99)
			}
		})
	}
}

func count(n int) []float64 {
	var all []float64
	for i := range n {
		all = append(all, float64(n-i))
	}
	return all
}

func TestMissedGoals(t *testing.T) {
	rows := []Row{{Who: "sampan", Values: []float64{10, 10, 30}}, {Who: "docker", Values: []float64{100}}}
	for name, tt := range map[string]struct {
		goal Goal
		rows []Row
		want string
	}{
		"no goal is not missed":         {Goal{}, rows, ""},
		"a goal that is just reached":   {Goal{Median: 10, P99: 30, Times: map[string]float64{"docker": 10}}, rows, ""},
		"a median above":                {Goal{Median: 9}, rows, "median 10, goal ≤ 9"},
		"a tail above":                  {Goal{P99: 25}, rows, "p99 30, goal ≤ 25"},
		"not enough times faster":       {Goal{Times: map[string]float64{"docker": 12}}, rows, "10 × docker, goal ≥ 12"},
		"nothing measured is a miss":    {Goal{}, []Row{{Who: "sampan"}}, "not measured"},
		"an absent peer proves nothing": {Goal{Times: map[string]float64{"podman": 8}}, rows, "podman was not measured"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(Figure{Unit: "ms", Goal: tt.goal, Rows: tt.rows}.Missed(), "; ")
			if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("Missed() = %q; want %q", got, tt.want)
			}
		})
	}
}

func TestWhereMoreIsBetter(t *testing.T) {
	f := Figure{Unit: "req/s", More: true, Rows: []Row{{Who: "sampan", Values: []float64{70}}, {Who: "nginx", Values: []float64{100}}}}
	for name, tt := range map[string]struct {
		goal Goal
		want string
	}{
		"a share that is reached":     {Goal{Times: map[string]float64{"nginx": 0.7}, Least: 70}, ""},
		"a share that is not reached": {Goal{Times: map[string]float64{"nginx": 0.8}}, "0.70 × nginx, goal ≥ 0.80 ×"},
		"less than the least":         {Goal{Least: 71}, "median 70, goal ≥ 71 req/s"},
	} {
		t.Run(name, func(t *testing.T) {
			f.Goal = tt.goal
			if got := strings.Join(f.Missed(), "; "); got != tt.want {
				t.Errorf("Missed() = %q; want %q", got, tt.want)
			}
		})
	}
}

func TestContestantsTakeTurnsAndTheFirstRoundDoesNotCount(t *testing.T) {
	var order []string
	enter := func(who string, fails int) Contestant {
		n := 0
		return Contestant{Who: who, Once: func(context.Context) (float64, error) {
			order = append(order, who)
			if n++; n == fails {
				return 0, errors.New("fell over")
			}
			return float64(n), nil
		}}
	}
	rows := Race(t.Context(), 2, time.Second, enter("a", 0), enter("b", 2))
	if want := []string{"a", "b", "a", "b", "a"}; !slices.Equal(order, want) {
		t.Errorf("order = %v; want %v", order, want)
	}
	if want := []float64{2, 3}; !slices.Equal(rows[0].Values, want) {
		t.Errorf("values of a = %v; want %v", rows[0].Values, want)
	}
	if want := "round 1: fell over"; rows[1].Err != want || len(rows[1].Values) != 0 {
		t.Errorf("row of b = %+v; want error %q and no values", rows[1], want)
	}
}
