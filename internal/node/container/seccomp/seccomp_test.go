package seccomp

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func ptr[T any](v T) *T { return &v }

func TestCompileRefusesByName(t *testing.T) {
	call := func(c specs.LinuxSyscall) specs.LinuxSeccomp {
		return specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActAllow}, c}}
	}
	for name, tt := range map[string]struct {
		policy specs.LinuxSeccomp
		kind   fault.Kind
		field  string
	}{
		"an unknown default":      {specs.LinuxSeccomp{DefaultAction: "SCMP_ACT_MAYBE"}, fault.Invalid, "defaultAction"},
		"no default":              {specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActAllow}}}, fault.Invalid, "defaultAction"},
		"notifying by default":    {specs.LinuxSeccomp{DefaultAction: specs.ActNotify}, fault.Unsupported, "defaultAction"},
		"a default errno too big": {specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: ptr(uint(1 << 16))}, fault.Invalid, "defaultErrnoRet"},
		"an unknown architecture": {specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{"SCMP_ARCH_PDP11"}}, fault.Invalid, "architectures[0]"},
		"an unknown flag":         {specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Flags: []specs.LinuxSeccompFlag{"FAST"}}, fault.Invalid, "flags[0]"},
		"a flag of notification":  {specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv}}, fault.Unsupported, "flags[0]"},
		"a listener":              {specs.LinuxSeccomp{DefaultAction: specs.ActErrno, ListenerPath: "/run/x"}, fault.Unsupported, "listenerPath"},
		"an unknown action":       {call(specs.LinuxSyscall{Names: []string{"write"}, Action: "x"}), fault.Invalid, "syscalls[1].action"},
		"notifying":               {call(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActNotify}), fault.Unsupported, "syscalls[1].action"},
		"an errno too big":        {call(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActErrno, ErrnoRet: ptr(uint(70000))}), fault.Invalid, "syscalls[1].errnoRet"},
		"no name":                 {call(specs.LinuxSyscall{Action: specs.ActLog}), fault.Invalid, "syscalls[1].names"},
		"an empty name":           {call(specs.LinuxSyscall{Names: []string{"write", ""}, Action: specs.ActLog}), fault.Invalid, "syscalls[1].names[1]"},
		"a seventh argument":      {call(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}), fault.Invalid, "syscalls[1].args[0].index"},
		"an unknown operator":     {call(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{{Op: "~"}}}), fault.Invalid, "syscalls[1].args[0].op"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(&tt.policy)
			if fault.Of(err) != tt.kind || !strings.Contains(err.Error(), "seccomp: "+tt.field+": ") {
				t.Errorf("Compile = %v; want %s … %s", err, tt.field, tt.kind)
			}
		})
	}
}

func TestAnEmptyPolicyHasNoProgram(t *testing.T) {
	for _, policy := range []*specs.LinuxSeccomp{nil, {}, {Architectures: []specs.Arch{specs.ArchX86_64}}} {
		if p, err := Compile(policy); err != nil || len(p.Filter) != 0 {
			t.Errorf("Compile(%+v) = %v, %v; want no program", policy, p, err)
		}
	}
}

func TestFewerConditionsWin(t *testing.T) {
	is := func(index uint, value uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: index, Op: specs.OpEqualTo, Value: value}
	}
	p, err := compile(&specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"read"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{is(0, 1), is(1, 2)}},
		{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{is(0, 1)}},
	}}, x8664)
	if err != nil {
		t.Fatal(err)
	}
	if got := interpret(t, p.Filter, data{0, unix.AUDIT_ARCH_X86_64, [6]uint64{1, 2}}); got != unix.SECCOMP_RET_ALLOW {
		t.Errorf("verdict = %#x, want allowed", got)
	}
}

func TestFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		flags []specs.LinuxSeccompFlag
		want  uint
	}{
		"silence leaves speculation on": {nil, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		"an empty list is meant so":     {[]specs.LinuxSeccompFlag{}, 0},
		"those that are listed":         {[]specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, "SECCOMP_FILTER_FLAG_TSYNC"}, unix.SECCOMP_FILTER_FLAG_LOG},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: tt.flags})
			if err != nil || p.Flags != tt.want {
				t.Errorf("flags = %d, %v; want %d", p.Flags, err, tt.want)
			}
		})
	}
}

func TestTheCacheKnowsAPolicyByWhatItSays(t *testing.T) {
	var c Cache
	first, err := c.Compile(Default(nil))
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Compile(Default(nil))
	if err != nil {
		t.Fatal(err)
	}
	if &first.Filter[0] != &again.Filter[0] {
		t.Error("the same policy was compiled twice")
	}
	other, err := c.Compile(Default([]string{"CAP_SYS_ADMIN"}))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(first.Filter, other.Filter) {
		t.Error("another policy has the same program")
	}
	if _, err := c.Compile(&specs.LinuxSeccomp{DefaultAction: "x"}); fault.Of(err) != fault.Invalid {
		t.Errorf("Compile of a bad policy = %v, want %v", err, fault.Invalid)
	}
}

// The kernel checks programs of its own accord. The test's own process becomes
// another one that installs the default and tries two calls.
func TestTheKernelTakesTheDefaultProgram(t *testing.T) {
	if os.Getenv("SECCOMP_TEST_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "SECCOMP_TEST_CHILD=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	runtime.LockOSThread()
	p, err := Compile(Default(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	prog := unix.SockFprog{Len: uint16(len(p.Filter)), Filter: &p.Filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(p.Flags), uintptr(unsafe.Pointer(&prog))); errno != 0 {
		t.Fatalf("seccomp: %v", errno)
	}
	if got := unix.Unshare(unix.CLONE_NEWUTS); got != unix.EPERM {
		t.Errorf("unshare = %v, want %v", got, unix.EPERM)
	}
	if _, _, got := unix.Syscall(unix.SYS_CLONE3, 0, 0, 0); got != unix.ENOSYS {
		t.Errorf("clone3 = %v, want %v", got, unix.ENOSYS)
	}
	if _, _, got := unix.Syscall(5000, 0, 0, 0); got != unix.ENOSYS {
		t.Errorf("a call from the future = %v, want %v", got, unix.ENOSYS)
	}
	if unix.Getpid() != os.Getpid() {
		t.Error("getpid does not work")
	}
}

func TestLoadProfile(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		caps []string
		want string // names of the rules that count, or a part of the error
	}{
		"an OCI policy":                       {`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ALLOW"}]}`, nil, "read write"},
		"an old Docker rule has one name":     {`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW","args":null,"comment":"x"}]}`, nil, "read"},
		"a rule for a capability is left out": {`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"},{"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}}]}`, nil, "read"},
		"a rule for a capability is taken":    {`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}}]}`, []string{"CAP_BPF"}, "bpf"},
		"a rule against a capability":         {`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"},{"names":["clone"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}}]}`, []string{"CAP_SYS_ADMIN"}, "read"},
		"a rule for another machine":          {`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"},{"names":["x"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390x"]}}]}`, nil, "read"},
		"a rule for a kernel to come":         {`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"},{"names":["x"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.1"}}]}`, nil, "read"},
		"somebody who is asked about a call":  {`{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/x","syscalls":[{"names":["mount"],"action":"SCMP_ACT_NOTIFY"}]}`, nil, "mount"},
		"a field that does not exist":         {`{"defaultAcion":"SCMP_ACT_ERRNO"}`, nil, `unknown field "defaultAcion"`},
		"a field of another type":             {`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":"read"}]}`, nil, "names"},
		"nothing":                             {`{}`, nil, "defaultAction: missing"},
		"two of them":                         {`{"defaultAction":"SCMP_ACT_ALLOW"} {}`, nil, "something follows"},
		"half a file":                         {`{"defaultAction":"SCMP`, nil, "unexpected EOF"},
		"both name and names":                 {`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_LOG"}]}`, nil, "syscalls[0].name"},
		"an unknown action":                   {`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"LOG"}]}`, nil, "syscalls[0].action"},
		"a kernel that is no version":         {`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_LOG","includes":{"minKernel":"new"}}]}`, nil, "syscalls[0].includes.minKernel"},
		"an errno without its number":         {`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_ERRNO","errno":"EPERM"}]}`, nil, "syscalls[0].errno"},
		"archMap beside architectures":        {`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}`, nil, "archMap"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "profile.json")
			if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			policy, err := LoadProfile(path, tt.caps)
			if err != nil {
				if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("LoadProfile = %v; want %s, %s", err, tt.want, fault.Invalid)
				}
				return
			}
			var names []string
			for _, call := range policy.Syscalls {
				names = append(names, call.Names...)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("LoadProfile has rules for %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := LoadProfile("/no/such/profile", nil); fault.Of(err) != fault.NotFound {
		t.Errorf("LoadProfile of a missing file = %v, want %v", err, fault.NotFound)
	}
}

func TestArchMapAddsTheMachinesOtherArchitectures(t *testing.T) {
	policy, err := parseProfile([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","archMap":[
		{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
		{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]specs.Arch{"amd64": {specs.ArchX86_64, specs.ArchX86}, "arm64": {specs.ArchAARCH64, specs.ArchARM}}[runtime.GOARCH]
	if !slices.Equal(policy.Architectures, want) {
		t.Errorf("architectures = %v, want %v", policy.Architectures, want)
	}
}

func BenchmarkCompile(b *testing.B) {
	policy := Default(nil)
	for b.Loop() {
		if _, err := Compile(policy); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCache(b *testing.B) {
	var c Cache
	policy := Default(nil)
	for b.Loop() {
		if _, err := c.Compile(policy); err != nil {
			b.Fatal(err)
		}
	}
}
