package seccomp

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/test/need"
)

// A reference asks libseccomp what a policy means.
type reference struct{ program string }

func newReference(t *testing.T) reference {
	need.Command(t, "gcc")
	need.Header(t, "seccomp.h", "libseccomp-dev")
	program := filepath.Join(t.TempDir(), "reference")
	if out, err := exec.Command("gcc", "-O1", "-o", program, "testdata/reference.c", "-lseccomp").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return reference{program}
}

// A verdict is what libseccomp and runc together do with a policy: runc puts a
// few instructions before libseccomp's program.
type verdict struct {
	filter  []unix.SockFilter
	last    [abis]int32 // newest call that the policy names; 0 is none
	refuses bool
	present map[abi]bool
	unknown []string        // names that this libseccomp does not know
	foreign map[uint32]bool // numbers that it has for calls which x32 lacks
	numbers map[string][abis]int32
}

// ask makes libseccomp compile a policy for a machine whose own abi is native.
func (r reference) ask(t *testing.T, policy *specs.LinuxSeccomp, native abi) verdict {
	t.Helper()
	v := verdict{present: map[abi]bool{native: true}, foreign: map[uint32]bool{}, numbers: map[string][abis]int32{}}
	fallback := number(t, policy.DefaultAction, policy.DefaultErrnoRet)
	v.refuses = fallback.refuses()
	var in bytes.Buffer
	fmt.Fprintf(&in, "default %d\n", fallback)
	if native != x8664 {
		fmt.Fprintf(&in, "arch %s\ndrop-native\n", scmpName(native))
	}
	for _, name := range policy.Architectures {
		if a, ours, _ := parseArch(name); ours {
			v.present[a] = true
			fmt.Fprintf(&in, "arch %s\n", scmpName(a))
		}
	}
	for _, call := range policy.Syscalls {
		act := number(t, call.Action, call.ErrnoRet)
		// As runc does: conditions that share an argument become rules of their own.
		lists := [][]specs.LinuxSeccompArg{call.Args}
		for i, x := range call.Args {
			if slices.ContainsFunc(call.Args[:i], func(y specs.LinuxSeccompArg) bool { return x.Index == y.Index }) {
				lists = nil
				for _, arg := range call.Args {
					lists = append(lists, []specs.LinuxSeccompArg{arg})
				}
				break
			}
		}
		for _, name := range call.Names {
			for _, args := range lists {
				fmt.Fprintf(&in, "rule %d %s %d", act, name, len(args))
				for _, arg := range args {
					fmt.Fprintf(&in, " %d %d %d %d", arg.Index, scmpOp(arg.Op), arg.Value, arg.ValueTwo)
				}
				fmt.Fprintln(&in)
			}
		}
	}
	cmd := exec.Command(r.program)
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("reference: %v: %s", err, stderr.Bytes())
	}
	for line := range strings.Lines(string(out)) {
		var insn unix.SockFilter
		if n, _ := fmt.Sscanf(line, "bpf %d %d %d %d", &insn.Code, &insn.Jt, &insn.Jf, &insn.K); n == 4 {
			v.filter = append(v.filter, insn)
			continue
		}
		var name string
		var nr [abis]int32
		if n, err := fmt.Sscanf(line, "call %s %d %d %d %d %d", &name, &nr[0], &nr[1], &nr[2], &nr[3], &nr[4]); n != 6 {
			t.Fatalf("reference said %q: %v", line, err)
		}
		if nr[0] == -1 {
			v.unknown = append(v.unknown, name)
			continue
		}
		v.numbers[name] = nr
		// libseccomp 2.6 took x86-64's numbers for some calls that the kernel gives
		// to 64-bit programs only.
		if sys, ok := lookup(name); ok && sys.nr[x32] == absent && nr[x32] >= 0 {
			v.foreign[uint32(nr[x32])] = true
			nr[x32] = absent
		}
		for a := range v.last {
			v.last[a] = max(v.last[a], nr[a])
		}
	}
	return v
}

// run is what the kernel would be told about a call.
func (v verdict) run(t *testing.T, call data) action {
	if v.refuses {
		a, ok := map[uint32]abi{unix.AUDIT_ARCH_X86_64: x8664, unix.AUDIT_ARCH_I386: x86, unix.AUDIT_ARCH_AARCH64: arm64, unix.AUDIT_ARCH_ARM: arm}[call.audit]
		if a == x8664 && call.nr&x32Bit != 0 {
			a = x32
		}
		if ok && v.present[a] && v.last[a] != 0 && call.nr > uint32(v.last[a]) {
			return noCall
		}
	}
	return interpret(t, v.filter, call)
}

func scmpName(a abi) string { return [...]string{"x86_64", "x86", "x32", "aarch64", "arm"}[a] }

func scmpOp(op specs.LinuxSeccompOperator) int {
	return 1 + slices.Index([]specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo,
		specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}, op)
}

func number(t *testing.T, name specs.LinuxSeccompAction, errno *uint) action {
	t.Helper()
	a, err := parseAction("action", name, "errnoRet", errno)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// data is struct seccomp_data without the instruction pointer.
type data struct {
	nr, audit uint32
	args      [6]uint64
}

func (d data) word(offset uint32) uint32 {
	switch {
	case offset == offCall:
		return d.nr
	case offset == offAudit:
		return d.audit
	}
	i := (offset - offArgs) / 8
	if offset%8 == 4 {
		return uint32(d.args[i] >> 32)
	}
	return uint32(d.args[i])
}

// interpret runs a program as the kernel does.
func interpret(t *testing.T, filter []unix.SockFilter, d data) action {
	var acc uint32
	for pc := 0; pc < len(filter); pc++ {
		in := filter[pc]
		var taken bool
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = d.word(in.K)
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= in.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return action(in.K)
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			taken = acc == in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			taken = acc > in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			taken = acc >= in.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			taken = acc&in.K != 0
		default:
			t.Fatalf("instruction %d: unexpected code %#x", pc, in.Code)
		}
		if taken {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	t.Fatal("the program ran off its end")
	return 0
}

// compare compiles a policy both ways and compares what they say about every
// call, with arguments around every value that the policy compares with.
func (r reference) compare(t *testing.T, policy *specs.LinuxSeccomp, native abi) {
	t.Helper()
	v := r.ask(t, policy, native)
	if len(v.unknown) > 0 {
		// Compare what both know.
		known := *policy
		known.Syscalls = nil
		for _, call := range policy.Syscalls {
			call.Names = slices.DeleteFunc(slices.Clone(call.Names), func(name string) bool { return slices.Contains(v.unknown, name) })
			if len(call.Names) > 0 {
				known.Syscalls = append(known.Syscalls, call)
			}
		}
		policy = &known
	}
	ours, err := compile(policy, native)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	var nrs []uint32
	for nr := range uint32(600) {
		nrs = append(nrs, nr, x32Bit+nr, 0x0f0000+nr%16)
	}
	nrs = append(nrs, 1000, x32Bit-1, 2*x32Bit-1, 2*x32Bit, 2*x32Bit+1, 3*x32Bit-1, 3*x32Bit, 3*x32Bit+1, math.MaxUint32-1, math.MaxUint32)
	slices.Sort(nrs)
	args := arguments(policy, nrs)
	failures := 0
	for _, audit := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_S390X} {
		for _, nr := range slices.Compact(nrs) {
			if v.foreign[nr] {
				continue
			}
			for _, arg := range args[nr&^x32Bit] {
				call := data{nr, audit, arg}
				got, want := interpret(t, ours.Filter, call), v.run(t, call)
				if got == want {
					continue
				}
				t.Errorf("arch %#x call %d args %#x: %#x, want %#x", audit, nr, arg, got, want)
				if failures++; failures > 10 {
					t.FailNow()
				}
				break
			}
		}
	}
}

// arguments returns argument lists around every value that a policy compares
// with, by the numbers of the calls concerned.
func arguments(policy *specs.LinuxSeccomp, nrs []uint32) map[uint32][][6]uint64 {
	all := map[uint32][][6]uint64{}
	for _, nr := range nrs {
		all[nr&^x32Bit] = [][6]uint64{{}}
	}
	for _, through := range []string{"socketcall", "ipc"} {
		sys, _ := lookup(through)
		for call := range uint64(30) {
			all[uint32(sys.nr[x86])] = append(all[uint32(sys.nr[x86])], [6]uint64{call})
		}
	}
	for _, call := range policy.Syscalls {
		base := [6]uint64{}
		for _, arg := range call.Args {
			base[arg.Index] = arg.Value
			if arg.Op == specs.OpMaskedEqual {
				base[arg.Index] = arg.ValueTwo
			}
		}
		lists := [][6]uint64{base}
		for _, arg := range call.Args {
			for _, v := range []uint64{arg.Value, arg.ValueTwo, 0} {
				for _, w := range []uint64{v, v - 1, v + 1, v ^ 1<<32, v + 1<<32, v - 1<<32, v | 1<<63, v & math.MaxUint32, ^v, v ^ 1, v ^ 1<<31, v ^ arg.Value&-arg.Value} {
					list := base
					list[arg.Index] = w
					lists = append(lists, list)
					list = [6]uint64{}
					list[arg.Index] = w
					lists = append(lists, list)
				}
			}
		}
		for _, name := range call.Names {
			names := []string{name}
			if through, call := multiplexed(name); through != "" {
				sys, _ := lookup(through)
				for _, list := range lists {
					list[0] = call
					all[uint32(sys.nr[x86])] = append(all[uint32(sys.nr[x86])], list)
				}
				names = append(names, through)
			}
			numbers := map[uint32]bool{}
			for _, name := range names {
				if sys, ok := lookup(name); ok {
					for _, nr := range sys.nr {
						numbers[uint32(nr)&^x32Bit] = true
					}
				}
			}
			for nr := range numbers {
				all[nr] = append(all[nr], lists...)
			}
		}
	}
	return all
}
