package engine

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// How often a first process is looked at that does not catch its stop signal.
const (
	catchPoll    = 2 * time.Millisecond
	maxCatchPoll = 100 * time.Millisecond
)

// untilCaught waits until a stop signal would have an effect, at most limit.
//
// To the first process of a process namespace the kernel delivers only what it
// catches. A program that was started a millisecond ago has not asked for
// SIGTERM yet; sent now, the signal would be lost, and the program killed after
// the whole timeout. Sent twice, it would tell many programs to quit at once.
func untilCaught(ctx context.Context, c *ctr, pid, signal int, limit time.Duration) {
	end := time.Now().Add(limit)
	for pause := catchPoll; !catches(pid, signal) && time.Now().Before(end); pause = min(2*pause, maxCatchPoll) {
		select {
		case <-c.done:
			return
		case <-ctx.Done():
			return
		case <-time.After(min(pause, time.Until(end))):
		}
	}
}

// catches is also true when the signal does its usual work without being caught,
// and when nothing is known.
func catches(pid, signal int) bool {
	if signal == sigKill || pid == 0 {
		return true
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return true
	}
	first, caught := false, false
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "NSpid":
			f := strings.Fields(value)
			first = len(f) > 1 && f[len(f)-1] == "1"
		case "SigCgt":
			mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			caught = err == nil && mask&(1<<(signal-1)) != 0
		}
	}
	return !first || caught
}
