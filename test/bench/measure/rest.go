package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Rest returns when the processors have been idle for nine tenths of a fifth of
// a second, or after five seconds. A contestant's removals end before the kernel
// has taken its network namespaces apart, and the next one would pay for that.
func Rest(ctx context.Context) error {
	limit := time.Now().Add(5 * time.Second)
	before, err := processorTimes()
	for err == nil && time.Now().Before(limit) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		var now times
		if now, err = processorTimes(); err == nil && now.idleSince(before) >= 0.9 {
			return nil
		}
		before = now
	}
	return err
}

// times are what all processors together have spent, in the kernel's ticks.
type times struct{ idle, all uint64 }

func (t times) idleSince(before times) float64 {
	if t.all == before.all {
		return 0
	}
	return float64(t.idle-before.idle) / float64(t.all-before.all)
}

func processorTimes() (times, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return times{}, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return parseTimes(line)
}

// parseTimes reads the first line of /proc/stat: user, nice, system, idle, and
// others of which the next is idle as well, waiting for a disk.
func parseTimes(line string) (times, error) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[0] != "cpu" {
		return times{}, errors.New("/proc/stat does not begin with the times of all processors")
	}
	var t times
	for i, f := range fields[1:] {
		var n uint64
		if _, err := fmt.Sscan(f, &n); err != nil {
			return times{}, fmt.Errorf("/proc/stat: field %d: %w", i+1, err)
		}
		t.all += n
		if i == 3 || i == 4 {
			t.idle += n
		}
	}
	return t, nil
}
