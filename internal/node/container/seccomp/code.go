package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// code is a program under construction. It grows from its end to its beginning:
// all jumps go forward, so what an instruction jumps to is already there and
// every distance is known.
type code struct {
	back []unix.SockFilter // last instruction first
	rets map[action]int    // where each action was returned most recently
}

// A target is where a jump goes: an instruction, or the return of an action,
// which is placed when somebody needs it.
type target struct {
	placed bool
	at     int // index in code.back
	action action
}

func returns(a action) target { return target{action: a} }

func (c *code) place(op int, jt, jf uint8, k uint32) target {
	c.back = append(c.back, unix.SockFilter{Code: uint16(op), Jt: jt, Jf: jf, K: k})
	return target{placed: true, at: len(c.back) - 1}
}

// load places a load of a word of struct seccomp_data.
func (c *code) load(offset uint32) target {
	return c.place(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, offset)
}

// and places a mask of the accumulator.
func (c *code) and(k uint32) target {
	return c.place(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, k)
}

// branch places a comparison of the accumulator with k.
func (c *code) branch(op int, k uint32, yes, no target) target {
	y := c.near(yes, 1) // reaching no may put one more instruction in between
	n := c.near(no, 0)
	here := len(c.back)
	return c.place(unix.BPF_JMP|op|unix.BPF_K, uint8(here-y-1), uint8(here-n-1), k)
}

// near returns an index that leads to t and can be jumped to from margin
// instructions before the next one. A branch reaches no further than 255.
func (c *code) near(t target, margin int) int {
	fits := func(at int) bool { return len(c.back)+margin-at-1 <= 255 }
	if !t.placed {
		at, ok := c.rets[t.action]
		if !ok || !fits(at) {
			at = c.place(unix.BPF_RET|unix.BPF_K, 0, 0, uint32(t.action)).at
			if c.rets == nil {
				c.rets = map[action]int{}
			}
			c.rets[t.action] = at
		}
		return at
	}
	if fits(t.at) {
		return t.at
	}
	return c.place(unix.BPF_JMP|unix.BPF_JA, 0, 0, uint32(len(c.back)-t.at-1)).at
}

// program returns the instructions in the order in which they run.
func (c *code) program() []unix.SockFilter {
	slices.Reverse(c.back)
	return c.back
}
