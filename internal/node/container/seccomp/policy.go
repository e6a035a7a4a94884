package seccomp

import (
	"fmt"
	"math"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// An action is what a filter returns to the kernel, with its data.
type action uint32

const (
	kill   action = unix.SECCOMP_RET_KILL_THREAD
	noCall action = unix.SECCOMP_RET_ERRNO | action(unix.ENOSYS)
)

// refuses tells whether a call that meets a does not happen. A tracer is taken
// to handle calls that it does not know by itself.
func (a action) refuses() bool {
	switch uint32(a) & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE:
		return false
	}
	return true
}

// A cond compares one argument.
type cond struct {
	arg         uint
	op          specs.LinuxSeccompOperator
	value, mask uint64 // mask counts for OpMaskedEqual, which stands for OpEqualTo too
}

// A rule is an action with the conditions that must all hold for it.
type rule struct {
	action action
	conds  []cond
}

// A table holds the rules of one abi by call number.
type table struct {
	rules map[uint32][]rule
	last  uint32 // newest call that the policy names
	known bool   // whether it names any
}

// A policy is a specs.LinuxSeccomp with names resolved.
type policy struct {
	fallback action
	native   abi
	tables   map[abi]*table
}

func parse(in *specs.LinuxSeccomp, native abi) (*policy, error) {
	fallback, err := parseAction("defaultAction", in.DefaultAction, "defaultErrnoRet", in.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	// The machine's own architecture is meant even where it is not listed.
	p := &policy{fallback: fallback, native: native, tables: map[abi]*table{native: {rules: map[uint32][]rule{}}}}
	for i, name := range in.Architectures {
		a, ours, known := parseArch(name)
		switch {
		case !known:
			return nil, fmt.Errorf("architectures[%d]: unknown architecture %q: %w", i, name, fault.Invalid)
		case ours && p.tables[a] == nil:
			p.tables[a] = &table{rules: map[uint32][]rule{}}
		}
	}
	for i, call := range in.Syscalls {
		if err := p.add(call); err != nil {
			return nil, fmt.Errorf("syscalls[%d].%w", i, err)
		}
	}
	return p, nil
}

// add enters a rule of the policy into the tables of its architectures.
func (p *policy) add(call specs.LinuxSyscall) error {
	act, err := parseAction("action", call.Action, "errnoRet", call.ErrnoRet)
	if err != nil {
		return err
	}
	if len(call.Names) == 0 {
		return fmt.Errorf("names: no call is named: %w", fault.Invalid)
	}
	alternatives, err := parseArgs(call.Args)
	if err != nil {
		return err
	}
	for i, name := range call.Names {
		if name == "" {
			return fmt.Errorf("names[%d]: empty: %w", i, fault.Invalid)
		}
		sys, ok := lookup(name)
		if !ok {
			continue
		}
		for a, t := range p.tables {
			t.name(a, sys)
			if act == p.fallback {
				continue
			}
			for _, conds := range alternatives {
				t.call(a, sys, rule{act, conds})
			}
		}
	}
	return nil
}

// name notes that the policy speaks of a call. Calls that may be multiplexed do
// not count on x86: libseccomp has no single number for them.
func (t *table) name(a abi, sys *syscall) {
	if nr := sys.nr[a]; nr > 0 && !(a == x86 && isMultiplexed(sys.name)) {
		t.known, t.last = true, max(t.last, uint32(nr))
	}
}

// call enters a rule for a call, and on x86 also for its multiplexed form.
func (t *table) call(a abi, sys *syscall, r rule) {
	if a == x86 {
		if through, nr := multiplexed(sys.name); through != "" {
			mux, _ := lookup(through)
			// The first argument now says which call it is; a condition on the call's
			// own cannot be checked, since it lies in memory.
			conds := []cond{{arg: 0, op: specs.OpMaskedEqual, value: nr, mask: math.MaxUint64}}
			for _, c := range r.conds {
				if c.arg != 0 {
					conds = append(conds, c)
				}
			}
			t.put(a, uint32(mux.nr[a]), rule{r.action, conds})
		}
	}
	if nr := sys.nr[a]; nr != absent {
		t.put(a, uint32(nr), r)
	}
}

// put enters a rule for a number.
func (t *table) put(a abi, nr uint32, r rule) {
	r.conds = slices.Clone(r.conds)
	for i := range r.conds {
		if !a.wide() {
			r.conds[i].value &= math.MaxUint32
			r.conds[i].mask &= math.MaxUint32
		}
	}
	// A mask without bits asks for nothing.
	r.conds = slices.DeleteFunc(r.conds, func(c cond) bool { return c.op == specs.OpMaskedEqual && c.mask == 0 })
	have := t.rules[nr]
	switch {
	case len(have) == 1 && len(have[0].conds) == 0:
	case len(r.conds) == 0:
		t.rules[nr] = []rule{r}
	default:
		have = append(have, r)
		// What asks for less covers more, and wins.
		slices.SortStableFunc(have, func(x, y rule) int { return len(x.conds) - len(y.conds) })
		t.rules[nr] = have
	}
}

func isMultiplexed(name string) bool {
	through, _ := multiplexed(name)
	return through != ""
}

// parseArgs returns the conditions of a rule: lists of which one must hold
// entirely.
func parseArgs(args []specs.LinuxSeccompArg) ([][]cond, error) {
	var all []cond
	seen, twice := map[uint]bool{}, false
	for i, arg := range args {
		c := cond{arg: arg.Index, op: arg.Op, value: arg.Value, mask: math.MaxUint64}
		if arg.Index > 5 {
			return nil, fmt.Errorf("args[%d].index: %d, but a call has arguments 0 to 5: %w", i, arg.Index, fault.Invalid)
		}
		switch arg.Op {
		case specs.OpEqualTo:
			c.op = specs.OpMaskedEqual
		case specs.OpMaskedEqual:
			c.mask, c.value = arg.Value, arg.ValueTwo&arg.Value
		case specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpLessThan, specs.OpLessEqual:
		default:
			return nil, fmt.Errorf("args[%d].op: unknown operator %q: %w", i, arg.Op, fault.Invalid)
		}
		twice = twice || seen[arg.Index]
		seen[arg.Index] = true
		all = append(all, c)
	}
	if !twice {
		return [][]cond{all}, nil
	}
	var alternatives [][]cond
	for _, c := range all {
		alternatives = append(alternatives, []cond{c})
	}
	return alternatives, nil
}

// parseAction returns an action with its data. The fields are for the error.
func parseAction(field string, name specs.LinuxSeccompAction, errnoField string, errno *uint) (action, error) {
	data := action(unix.EPERM)
	if errno != nil {
		if *errno > unix.SECCOMP_RET_DATA {
			return 0, fmt.Errorf("%s: %d is more than %d: %w", errnoField, *errno, unix.SECCOMP_RET_DATA, fault.Invalid)
		}
		data = action(*errno)
	}
	switch name {
	case specs.ActKill, specs.ActKillThread:
		return kill, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | data, nil
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | data, nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActNotify:
		return 0, fmt.Errorf("%s: notification is %w by the native runtime", field, fault.Unsupported)
	}
	return 0, fmt.Errorf("%s: unknown action %q: %w", field, name, fault.Invalid)
}
