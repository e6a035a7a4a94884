package catalog

import (
	"fmt"
	"time"

	api "github.com/sampan-cloud/sampan/api/catalog"
)

// grace is the least time that a heartbeat may take after a restart: those who
// could not reach us meanwhile come back when their next one is due.
const grace = 10 * time.Second

// health is what is known of how one instance does. It does nothing by itself:
// whoever holds it tells it what has happened, and asks.
type health struct {
	inst  api.Instance
	known time.Time // since when this process looks after it

	expires  time.Time // without a heartbeat; zero without a TTL
	beat     api.Heartbeat
	passed   bool // its check, at least once
	failures int  // of its check, in a row
	why      string

	state   api.State
	since   time.Time
	message string
}

// newHealth is the health of an instance that is as it was when somebody last
// wrote it down.
func newHealth(inst api.Instance, was *api.Status, now time.Time) *health {
	h := &health{inst: inst, known: now, state: was.State, since: was.Since}
	if inst.TTL > 0 {
		h.expires = now.Add(max(time.Duration(inst.TTL), grace))
	}
	switch was.State {
	case api.Ready:
		h.passed = true
	case api.Failing:
		h.failures, h.why = maxFailures, was.Message
	case api.Expired:
		h.expires, h.passed = now, true
	case api.Paused:
		h.beat, h.passed = api.Heartbeat{Paused: true, Message: was.Message}, true
	}
	h.judge(now)
	return h
}

// firstState is that of an instance that was registered now.
func firstState(inst api.Instance) api.State {
	if inst.Check != nil {
		return api.Checking
	}
	return api.Ready
}

// alive is a heartbeat.
func (h *health) alive(b api.Heartbeat, now time.Time) {
	h.beat = b
	if ttl := time.Duration(h.inst.TTL); ttl > 0 {
		h.expires = now.Add(ttl)
	}
}

// checked is the outcome of a check.
func (h *health) checked(err error) {
	if err == nil {
		h.passed, h.failures, h.why = true, 0, ""
		return
	}
	h.failures++
	h.why = err.Error()
}

// judge says how the instance does now.
func (h *health) judge(now time.Time) {
	state, message := api.Ready, ""
	switch c := h.inst.Check; {
	case !h.expires.IsZero() && !now.Before(h.expires):
		state, message = api.Expired, fmt.Sprintf("no heartbeat for %s", h.inst.TTL)
	case h.beat.Paused:
		state, message = api.Paused, h.beat.Message
	case c != nil && h.failures >= c.Failures:
		state, message = api.Failing, h.why
	case c != nil && !h.passed:
		state, message = api.Checking, h.why
	}
	if state != h.state || h.since.IsZero() {
		h.state, h.since = state, now
	}
	h.message = message
}

// forgotten says when the instance is to be forgotten if it goes on like this;
// zero is never. While it says itself that it lives, it is kept.
func (h *health) forgotten() time.Time {
	if h.inst.RemoveAfter == 0 || h.state == api.Ready || h.state == api.Paused {
		return time.Time{}
	}
	from := h.since
	if h.known.After(from) {
		from = h.known
	}
	return from.Add(time.Duration(h.inst.RemoveAfter))
}

// next is when there is something to judge without any news; zero is never.
func (h *health) next(now time.Time) time.Time {
	next := h.forgotten()
	if h.expires.After(now) && (next.IsZero() || h.expires.Before(next)) {
		next = h.expires
	}
	return next
}

func (h *health) status() *api.Status {
	s := &api.Status{State: h.state, Since: h.since.UTC().Truncate(time.Millisecond), Message: h.message}
	if !h.expires.IsZero() && h.state != api.Expired {
		at := h.expires.UTC().Truncate(time.Millisecond)
		s.Expires = &at
	}
	return s
}
