package seccomp

import (
	"math"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// place places the comparison of one argument. Filters compute with 32 bits: of
// a wide argument the high word decides unless it is equal.
func (q cond) place(c *code, wide bool, yes, no target) target {
	switch q.op {
	case specs.OpMaskedEqual:
		return q.equal(c, wide, yes, no)
	case specs.OpNotEqual:
		return q.equal(c, wide, no, yes)
	case specs.OpGreaterThan:
		return q.order(c, wide, unix.BPF_JGT, yes, no)
	case specs.OpGreaterEqual:
		return q.order(c, wide, unix.BPF_JGE, yes, no)
	case specs.OpLessThan:
		return q.order(c, wide, unix.BPF_JGE, no, yes)
	}
	return q.order(c, wide, unix.BPF_JGT, no, yes) // OpLessEqual; parseArgs let no other in
}

func (q cond) low() uint32  { return offArgs + 8*uint32(q.arg) }
func (q cond) high() uint32 { return q.low() + 4 }

// equal places argument & mask == value. At least one bit of the mask is set.
func (q cond) equal(c *code, wide bool, yes, no target) target {
	word := func(offset, mask, value uint32, yes target) target {
		if mask == 0 {
			return yes
		}
		c.branch(unix.BPF_JEQ, value, yes, no)
		if mask != math.MaxUint32 {
			c.and(mask)
		}
		return c.load(offset)
	}
	yes = word(q.low(), uint32(q.mask), uint32(q.value), yes)
	if wide {
		yes = word(q.high(), uint32(q.mask>>32), uint32(q.value>>32), yes)
	}
	return yes
}

// order places an unsigned comparison; op is for the low words.
func (q cond) order(c *code, wide bool, op int, yes, no target) target {
	c.branch(op, uint32(q.value), yes, no)
	low := c.load(q.low())
	if !wide {
		return low
	}
	same := c.branch(unix.BPF_JEQ, uint32(q.value>>32), low, no)
	c.branch(unix.BPF_JGT, uint32(q.value>>32), yes, same)
	return c.load(q.high())
}
