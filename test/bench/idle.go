package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sampan-cloud/sampan/test/bench/measure"
	"github.com/sampan-cloud/sampan/test/bench/peer"
)

// idleFor is how long processor time is counted.
const idleFor = 30 * time.Second

// idle measures what a cloud costs that has nothing to do.
func (b *bench) idle(ctx context.Context, c *peer.Cloud) error {
	if !b.wants("idle-memory", "idle-processor") {
		return nil
	}
	b.say("waiting until the cloud is idle, and then %s", idleFor)
	wait, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := c.AwaitIdle(wait); err != nil {
		return err
	}
	parts, err := c.Parts(ctx)
	if err != nil {
		return err
	}
	before, err := processorTimes(parts)
	if err != nil {
		return err
	}
	began := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idleFor):
	}
	after, err := processorTimes(parts)
	if err != nil {
		return err
	}
	took := time.Since(began)
	memory, processor := b.figure("idle-memory"), b.figure("idle-processor")
	var total measure.Memory
	var busy float64
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		m, err := measure.MemoryOf(parts[name])
		if err != nil {
			return err
		}
		share := 100 * float64(after[name]-before[name]) / float64(took)
		memory.Rows = append(memory.Rows, one(name, m.RSS), one(name+", proportional", m.PSS))
		processor.Rows = append(processor.Rows, one(name, share))
		total.RSS, busy = total.RSS+m.RSS, busy+share
	}
	memory.Rows = slices.Insert(memory.Rows, 0, one("all of sampan", total.RSS))
	processor.Rows = slices.Insert(processor.Rows, 0, one("all of sampan", busy))
	if err := b.show(memory); err != nil {
		return err
	}
	return b.show(processor)
}

func processorTimes(parts map[string]int) (map[string]time.Duration, error) {
	times := map[string]time.Duration{}
	for name, pid := range parts {
		t, err := measure.ProcessorTime(pid)
		if err != nil {
			return nil, err
		}
		times[name] = t
	}
	return times, nil
}

// one is the row of a value that is measured once.
func one(who string, v float64) measure.Row { return measure.Row{Who: who, Values: []float64{v}} }
