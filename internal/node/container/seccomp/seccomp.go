// Package seccomp compiles system call policies into the programs that the
// kernel runs before every call of a container.
//
// A policy is the seccomp part of an OCI specification. Compile gives it the
// meaning that runc and libseccomp give it, proven call by call in this
// package's tests, in a few hundred microseconds and without cgo:
//
//   - calls are looked up by name in each architecture of the policy; a name
//     that an architecture does not have is ignored there;
//   - a rule's conditions must all hold; two on the same argument make two rules;
//   - a rule without conditions wins over those with, and of several the first
//     counts; a rule whose action is the default's is no rule; of several rules
//     with conditions each counts, where libseccomp 2.5 loses some that compare
//     with other operators than equality;
//   - calls newer than the newest that the policy names fail with ENOSYS where
//     the default is to refuse, so that programs fall back to older calls;
//   - programs of an architecture that the policy does not list are killed.
//
// A policy that allows most calls costs little: the kernel works out beforehand
// which numbers are allowed whatever their arguments are, and runs the program
// only for the others.
package seccomp

import (
	"fmt"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Program is what seccomp(2) takes: SECCOMP_SET_MODE_FILTER with these flags.
// It is shared by all containers of the policy and must not be changed.
type Program struct {
	Filter []unix.SockFilter
	Flags  uint
}

// maxInstructions is BPF_MAXINSNS.
const maxInstructions = 4096

// Default returns containerd's default policy for a container whose bounding
// set is caps, on this machine's architecture.
func Default(caps []string) *specs.LinuxSeccomp {
	return seccomp.DefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}},
		Linux:   &specs.Linux{},
	})
}

// Compile makes the program of a policy. A policy that is nil or empty has an
// empty one, which is not to be installed. One that says something wrong is
// fault.Invalid and one that asks for what the node does not do is
// fault.Unsupported; both errors name the field.
func Compile(policy *specs.LinuxSeccomp) (Program, error) {
	return compile(policy, native())
}

func compile(policy *specs.LinuxSeccomp, native abi) (Program, error) {
	if disabled(policy) {
		return Program{}, nil
	}
	flags, err := parseFlags(policy)
	if err != nil {
		return Program{}, fmt.Errorf("seccomp: %w", err)
	}
	p, err := parse(policy, native)
	if err != nil {
		return Program{}, fmt.Errorf("seccomp: %w", err)
	}
	filter := p.assemble()
	if len(filter) > maxInstructions {
		return Program{}, fmt.Errorf("seccomp: syscalls: the program has %d instructions, the kernel takes %d: %w", len(filter), maxInstructions, fault.Invalid)
	}
	return Program{Filter: filter, Flags: flags}, nil
}

// disabled tells whether a policy means none, as an OCI runtime takes it.
func disabled(policy *specs.LinuxSeccomp) bool {
	return policy == nil || policy.DefaultAction == "" && len(policy.Syscalls) == 0
}

// parseFlags returns the flags of seccomp(2). A policy that is silent about
// them gets what runc gives it: no mitigation of speculative store bypass,
// which would slow the container down and which the kernel itself has not
// wanted for filters since 5.16.
func parseFlags(policy *specs.LinuxSeccomp) (uint, error) {
	if policy.ListenerPath != "" {
		return 0, fmt.Errorf("listenerPath: notification is %w by the native runtime", fault.Unsupported)
	}
	if policy.Flags == nil {
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, nil
	}
	var flags uint
	for i, flag := range policy.Flags {
		switch flag {
		case "SECCOMP_FILTER_FLAG_TSYNC":
			// A container starts with one thread: there is nothing to synchronise.
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case specs.LinuxSeccompFlagWaitKillableRecv:
			return 0, fmt.Errorf("flags[%d]: notification is %w by the native runtime", i, fault.Unsupported)
		default:
			return 0, fmt.Errorf("flags[%d]: unknown flag %q: %w", i, flag, fault.Invalid)
		}
	}
	return flags, nil
}
