package seccomp

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// withRules are the capabilities that change the default policy.
var withRules = []string{
	"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE",
	"CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_SYS_NICE", "CAP_SYSLOG", "CAP_BPF", "CAP_PERFMON",
}

func TestTheDefaultPolicyMeansWhatLibseccompMakesOfIt(t *testing.T) {
	r := newReference(t)
	sets := map[string][]string{"no capability": nil, "all capabilities": withRules}
	for _, c := range withRules {
		sets[c] = []string{c}
	}
	for machine, archs := range map[abi][]specs.Arch{
		x8664: {specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
		arm64: {specs.ArchARM, specs.ArchAARCH64},
	} {
		for name, caps := range sets {
			t.Run(scmpName(machine)+"/"+name, func(t *testing.T) {
				policy := Default(caps)
				policy.Architectures = archs
				r.compare(t, policy, machine)
			})
		}
	}
}

func TestEveryComparisonMeansWhatLibseccompMakesOfIt(t *testing.T) {
	r := newReference(t)
	for _, op := range []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo,
		specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual} {
		for _, value := range []uint64{0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x123456789abcdef0, 1<<64 - 1} {
			for _, two := range []uint64{0, 1, value} {
				if op != specs.OpMaskedEqual && two != 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%#x/%#x", op, value, two), func(t *testing.T) {
					r.compare(t, &specs.LinuxSeccomp{
						DefaultAction: specs.ActErrno,
						Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
						Syscalls: []specs.LinuxSyscall{
							{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 2, Op: op, Value: value, ValueTwo: two}}},
							{Names: []string{"statx"}, Action: specs.ActAllow},
						},
					}, x8664)
				})
			}
		}
	}
}

func TestPoliciesMeanWhatLibseccompMakesOfThem(t *testing.T) {
	r := newReference(t)
	read := func(act specs.LinuxSeccompAction, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
		return specs.LinuxSyscall{Names: []string{"read"}, Action: act, Args: args}
	}
	is := func(index uint, value uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: index, Op: specs.OpEqualTo, Value: value}
	}
	for name, tt := range map[string]struct {
		fallback specs.LinuxSeccompAction
		archs    []specs.Arch
		calls    []specs.LinuxSyscall
	}{
		"allowing by default gives no ENOSYS":      {specs.ActAllow, nil, []specs.LinuxSyscall{read(specs.ActErrno)}},
		"logging by default gives no ENOSYS":       {specs.ActLog, nil, []specs.LinuxSyscall{read(specs.ActErrno)}},
		"tracing by default gives no ENOSYS":       {specs.ActTrace, nil, []specs.LinuxSyscall{read(specs.ActErrno)}},
		"killing the process by default":           {specs.ActKillProcess, nil, []specs.LinuxSyscall{read(specs.ActAllow)}},
		"killing by default":                       {specs.ActKill, nil, []specs.LinuxSyscall{read(specs.ActAllow)}},
		"trapping by default":                      {specs.ActTrap, nil, []specs.LinuxSyscall{read(specs.ActAllow), {Names: []string{"statx"}, Action: specs.ActLog}}},
		"x32 is killed where it is not listed":     {specs.ActErrno, []specs.Arch{specs.ArchX86_64, specs.ArchX86}, []specs.LinuxSyscall{read(specs.ActAllow)}},
		"x32 is killed where all else is allowed":  {specs.ActAllow, []specs.Arch{specs.ArchX86_64}, []specs.LinuxSyscall{read(specs.ActErrno)}},
		"the machine's own is always there":        {specs.ActErrno, []specs.Arch{specs.ArchX86}, []specs.LinuxSyscall{read(specs.ActAllow)}},
		"calls that no listed architecture has":    {specs.ActErrno, []specs.Arch{specs.ArchX86, specs.ArchX32}, []specs.LinuxSyscall{{Names: []string{"breakpoint"}, Action: specs.ActAllow}}},
		"x86 calls by way of another":              {specs.ActErrno, []specs.Arch{specs.ArchX86}, []specs.LinuxSyscall{{Names: []string{"socket", "semop", "shmat"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{is(0, 2), is(1, 3)}}, {Names: []string{"statx"}, Action: specs.ActAllow}}},
		"only multiplexed calls":                   {specs.ActErrno, []specs.Arch{specs.ArchX86}, []specs.LinuxSyscall{{Names: []string{"recvmmsg", "semget"}, Action: specs.ActAllow}}},
		"conditions on several arguments":          {specs.ActErrno, nil, []specs.LinuxSyscall{read(specs.ActAllow, is(0, 1), is(1, 1<<40), is(2, 3))}},
		"conditions that share an argument":        {specs.ActErrno, nil, []specs.LinuxSyscall{read(specs.ActAllow, is(0, 1), is(0, 2), is(1, 3))}},
		"several rules for one call":               {specs.ActErrno, nil, []specs.LinuxSyscall{read(specs.ActAllow, is(0, 1)), read(specs.ActAllow, is(0, 2)), read(specs.ActAllow, is(1, 2))}},
		"several actions for one call":             {specs.ActErrno, nil, []specs.LinuxSyscall{read(specs.ActAllow, is(0, 1)), read(specs.ActLog, is(0, 2)), read(specs.ActKill, is(0, 3))}},
		"no condition wins over one":               {specs.ActErrno, nil, []specs.LinuxSyscall{read(specs.ActLog, is(0, 1)), read(specs.ActAllow), read(specs.ActTrap, is(0, 2))}},
		"the first without condition wins":         {specs.ActErrno, nil, []specs.LinuxSyscall{read(specs.ActLog), read(specs.ActAllow)}},
		"the default's action is no rule":          {specs.ActErrno, nil, []specs.LinuxSyscall{read(specs.ActErrno), read(specs.ActAllow, is(0, 1)), {Names: []string{"statx"}, Action: specs.ActErrno}}},
		"an unknown name is ignored":               {specs.ActErrno, nil, []specs.LinuxSyscall{read(specs.ActAllow), {Names: []string{"no_such_call"}, Action: specs.ActAllow}}},
		"architectures of other machines are fine": {specs.ActErrno, []specs.Arch{specs.ArchS390X, specs.ArchMIPS}, []specs.LinuxSyscall{read(specs.ActAllow)}},
	} {
		t.Run(name, func(t *testing.T) {
			r.compare(t, &specs.LinuxSeccomp{DefaultAction: tt.fallback, Architectures: tt.archs, Syscalls: tt.calls}, x8664)
		})
	}
}

// Long programs need jumps that a branch cannot reach. Each call has one rule:
// of several rules with unequal comparisons libseccomp 2.5 loses some.
func TestLargePoliciesMeanWhatLibseccompMakesOfThem(t *testing.T) {
	r := newReference(t)
	ops := []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo,
		specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			policy := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}}
			for _, i := range random.Perm(len(syscalls))[:200] {
				if isMultiplexed(syscalls[i].name) {
					continue
				}
				call := specs.LinuxSyscall{Names: []string{syscalls[i].name}, Action: specs.ActAllow}
				for i := range uint(random.IntN(3)) {
					call.Args = append(call.Args, specs.LinuxSeccompArg{Index: i, Op: ops[random.IntN(len(ops))],
						Value: random.Uint64() >> random.UintN(64), ValueTwo: random.Uint64() >> random.UintN(64)})
				}
				policy.Syscalls = append(policy.Syscalls, call)
			}
			r.compare(t, policy, x8664)
		})
	}
}

func TestEveryMultiplexedCallHasLibseccompsNumber(t *testing.T) {
	r := newReference(t)
	for _, sys := range syscalls {
		if isMultiplexed(sys.name) {
			r.compare(t, &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86},
				Syscalls: []specs.LinuxSyscall{{Names: []string{sys.name, "statx"}, Action: specs.ActAllow}}}, x8664)
		}
	}
}

func TestNumbersAreThoseOfLibseccomp(t *testing.T) {
	r := newReference(t)
	policy := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for _, sys := range syscalls {
		policy.Syscalls = append(policy.Syscalls, specs.LinuxSyscall{Names: []string{sys.name}, Action: specs.ActAllow})
	}
	v := r.ask(t, policy, x8664)
	for _, sys := range syscalls {
		numbers, known := v.numbers[sys.name]
		if !known {
			continue
		}
		for a, nr := range numbers {
			// Below zero it means a call that the abi lacks, or reaches by way of another.
			if nr >= 0 && nr != sys.nr[a] && !v.foreign[uint32(nr)] {
				t.Errorf("%s on %s: %d, want %d", sys.name, scmpName(abi(a)), sys.nr[a], nr)
			}
		}
	}
	if len(v.numbers) < 450 {
		t.Errorf("libseccomp knows only %d of our %d names", len(v.numbers), len(syscalls))
	}
}
