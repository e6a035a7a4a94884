package measure

import (
	"context"
	"fmt"
	"time"
)

// Contestant does a thing once and tells how long it took, in the figure's
// unit. What it does before and after the timed part is not in the value.
type Contestant struct {
	Who  string
	Note string
	Once func(ctx context.Context) (float64, error)
}

// Race lets contestants take turns for the given number of rounds, after one
// that does not count: the first run of a program reads it from the disk. A
// contestant that fails or passes limit is out, and its row says why.
func Race(ctx context.Context, rounds int, limit time.Duration, contestants ...Contestant) []Row {
	rows := make([]Row, len(contestants))
	for i, c := range contestants {
		rows[i] = Row{Who: c.Who, Note: c.Note, Values: []float64{}}
	}
	for round := 0; round <= rounds; round++ {
		for i, c := range contestants {
			if rows[i].Err != "" || ctx.Err() != nil {
				continue
			}
			v, err := once(ctx, limit, c)
			switch {
			case err != nil:
				rows[i].Err = fmt.Sprintf("round %d: %v", round, err)
			case round > 0:
				rows[i].Values = append(rows[i].Values, v)
			}
		}
	}
	return rows
}

func once(ctx context.Context, limit time.Duration, c Contestant) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return c.Once(ctx)
}

// Timed makes a contestant of a function whose whole run counts, in milliseconds.
func Timed(who, note string, f func(ctx context.Context) error) Contestant {
	return Contestant{Who: who, Note: note, Once: func(ctx context.Context) (float64, error) {
		began := time.Now()
		err := f(ctx)
		return Milliseconds(time.Since(began)), err
	}}
}
