package launch

import (
	"errors"
	"fmt"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestLacks(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*specs.Spec)
		want   string
	}{
		"an ordinary container lacks nothing": {func(*specs.Spec) {}, "[]"},
		"hooks run in no child of ours": {func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{CreateContainer: make([]specs.Hook, 1), Poststop: make([]specs.Hook, 1)}
		}, "[hooks.createContainer hooks.poststop]"},
		"no hooks are none": {func(s *specs.Spec) { s.Hooks = &specs.Hooks{} }, "[]"},
		"an option that a runtime carries out": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "tmpfs", Options: []string{"rw", "tmpcopyup"}})
		}, fmt.Sprintf("[mounts[%d].options[1]: tmpcopyup]", len(dockerSpec("probe").Mounts))},
		"owners mapped by the specification are ours": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Source: "/", Options: []string{"rbind", "ridmap"}})
		}, "[]"},
		"owners mapped by an option are not": {func(s *specs.Spec) { s.Mounts[0].Options = []string{"idmap=uids=0-1-1"} },
			"[mounts[0].options[0]: idmap]"},
		"Intel RDT":                       {func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} }, "[linux.intelRdt]"},
		"a memory policy":                 {func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{} }, "[linux.memoryPolicy]"},
		"a device of the host's network":  {func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth1": {}} }, "[linux.netDevices]"},
		"somebody who listens":            {func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{ListenerPath: "/x"} }, "[linux.seccomp.listenerPath]"},
		"a call that somebody decides on": {func(s *specs.Spec) { s.Linux.Seccomp = notifying() }, "[linux.seccomp.syscalls[1].action]"},
		"the 32-bit personality is ours":  {func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32} }, "[]"},
		"flags of a personality are not": {func(s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"ADDR_NO_RANDOMIZE"}}
		}, "[linux.personality: LINUX ADDR_NO_RANDOMIZE]"},
		"a time namespace can be made, not joined": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces[:1:1], specs.LinuxNamespace{Type: "time"}, specs.LinuxNamespace{Type: "time", Path: "/proc/1/ns/time"})
		}, "[linux.namespaces[2]: time]"},
		"an annotation is for somebody": {func(s *specs.Spec) { s.Annotations = map[string]string{"run.oci.handler": "wasm"} }, "[annotations: run.oci.handler]"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := dockerSpec("probe")
			tt.change(spec)
			got := Lacks(spec)
			if fmt.Sprint(got) != tt.want {
				t.Errorf("Lacks = %v, want %s", got, tt.want)
			}
			if len(got) == 0 {
				return
			}
			if _, err := Start(Request{ID: "web", Spec: spec}); !errors.Is(err, fault.Unsupported) {
				t.Errorf("Start = %v, want %v", err, fault.Unsupported)
			}
		})
	}
}

func notifying() *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"bpf"}, Action: specs.ActErrno}, {Names: []string{"mount"}, Action: specs.ActNotify},
	}}
}
