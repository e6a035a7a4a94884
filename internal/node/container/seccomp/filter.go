package seccomp

import (
	"maps"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data, little endian.
const (
	offCall  = 0
	offAudit = 4
	offArgs  = 16
)

// A span is the numbers from first to the next span's first. Its verdict is an
// action, or rules that look at arguments.
type span struct {
	first  uint32
	action action
	rules  []rule
}

// assemble makes the program: find the architecture, then the number's span by
// binary search, then look at arguments where there are rules about them.
func (p *policy) assemble() []unix.SockFilter {
	var c code
	next := returns(kill)
	// The native architecture is asked for first, so it is placed last.
	for _, a := range []abi{arm, x86, arm64, x8664} {
		if a != p.native && p.tables[a] != nil {
			next = c.branch(unix.BPF_JEQ, a.audit(), p.place(&c, a), next)
		}
	}
	c.branch(unix.BPF_JEQ, p.native.audit(), p.place(&c, p.native), next)
	c.load(offAudit)
	return c.program()
}

// place places the code for an audit architecture.
func (p *policy) place(c *code, a abi) target {
	t := p.search(c, a, p.spans(a))
	if !t.placed {
		return t
	}
	return c.load(offCall)
}

// search places a binary search over spans. The number is in the accumulator.
func (p *policy) search(c *code, a abi, spans []span) target {
	if len(spans) == 1 {
		return p.verdict(c, a, spans[0])
	}
	half := len(spans) / 2
	high := p.search(c, a, spans[half:])
	low := p.search(c, a, spans[:half])
	return c.branch(unix.BPF_JGE, spans[half].first, high, low)
}

// verdict places the rules of a span: the first whose conditions all hold
// counts.
func (p *policy) verdict(c *code, a abi, s span) target {
	if s.rules == nil {
		return returns(s.action)
	}
	next := returns(p.fallback)
	for _, r := range slices.Backward(s.rules) {
		yes := returns(r.action)
		for _, cond := range slices.Backward(r.conds) {
			yes = cond.place(c, a.wide() && s.first&x32Bit == 0, yes, next)
		}
		next = yes
	}
	return next
}

// spans returns what happens to each number of an audit architecture.
func (p *policy) spans(a abi) []span {
	entries := map[uint32][]rule{}
	maps.Copy(entries, p.tables[a].rules)
	starts := []uint32{0, p.tables[a].last + 1}
	if a == x8664 {
		starts = append(starts, x32Bit, 2*x32Bit, 3*x32Bit, math.MaxUint32)
		if t := p.tables[x32]; t != nil {
			maps.Copy(entries, t.rules)
			starts = append(starts, t.last+1)
		}
	}
	for nr := range entries {
		starts = append(starts, nr, nr+1)
	}
	slices.Sort(starts)
	var spans []span
	for _, first := range slices.Compact(starts) {
		s := span{first: first}
		rules := entries[first]
		switch outside, ok := p.outside(a, first); {
		case ok:
			s.action = outside
		case len(rules) == 0:
			s.action = p.fallback
		case len(rules[0].conds) == 0:
			s.action = rules[0].action
		default:
			s.rules = rules
		}
		if n := len(spans); n > 0 && s.rules == nil && spans[n-1].rules == nil && spans[n-1].action == s.action {
			continue
		}
		spans = append(spans, s)
	}
	return spans
}

// outside tells what happens to a number that is beyond the calls the policy
// speaks of, whatever its rules say.
func (p *policy) outside(a abi, nr uint32) (action, bool) {
	t := p.tables[a]
	if a == x8664 && nr&x32Bit != 0 {
		t = p.tables[x32]
	}
	switch {
	case t != nil && t.known && nr > t.last && p.fallback.refuses():
		return noCall, true
	case a == x8664 && p.tables[x32] == nil && nr >= x32Bit && nr != math.MaxUint32:
		// Without x32 its numbers are another architecture. -1 is not: with it a
		// tracer skips a call.
		return kill, true
	}
	return 0, false
}
