package launch

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A Lack is something that a specification asks for and that this package
// cannot do exactly as it is written. Another runtime may be able to.
type Lack struct {
	Kind  LackKind
	Value string // which one of the kind, such as a hook's name; may be empty
	Field string // where the specification asks for it
}

// LackKind says what somebody else would have to be able to do.
type LackKind string

// The kinds of lack.
const (
	LackHook          LackKind = "hook"
	LackIntelRdt      LackKind = "Intel RDT"
	LackNetDevices    LackKind = "network devices"
	LackMemoryPolicy  LackKind = "memory policy"
	LackSeccompNotify LackKind = "seccomp notification"
	LackMountOption   LackKind = "mount option"
	LackNamespace     LackKind = "namespace to join"
	LackPersonality   LackKind = "personality"
	LackCPUAffinity   LackKind = "processor affinity of execs"
	LackAnnotation    LackKind = "annotation"
)

// String is the field with what it asks for: "mounts[3].options[0]: tmpcopyup".
func (l Lack) String() string {
	if l.Value == "" || strings.HasSuffix(l.Field, "."+l.Value) {
		return l.Field
	}
	return l.Field + ": " + l.Value
}

// Lacks lists what Start cannot do of a specification, in the order in which
// it is written there. Start refuses a specification that has any.
func Lacks(spec *specs.Spec) []Lack {
	var all []Lack
	add := func(kind LackKind, value, field string) { all = append(all, Lack{kind, value, field}) }
	if spec.Process != nil && spec.Process.ExecCPUAffinity != nil {
		add(LackCPUAffinity, "", "process.execCPUAffinity")
	}
	for i, m := range spec.Mounts {
		for j, o := range m.Options {
			if name, _, _ := strings.Cut(o, "="); foreignOptions[name] && o != "idmap" && o != "ridmap" {
				add(LackMountOption, name, fmt.Sprintf("mounts[%d].options[%d]", i, j))
			}
		}
	}
	for _, h := range hooks(spec.Hooks) {
		if len(h.list) > 0 {
			add(LackHook, h.name, "hooks."+h.name)
		}
	}
	// What reaches a specification as an annotation is meant for a runtime that
	// knows it.
	for _, key := range slices.Sorted(maps.Keys(spec.Annotations)) {
		add(LackAnnotation, key, "annotations")
	}
	return append(all, linuxLacks(spec.Linux)...)
}

func linuxLacks(l *specs.Linux) (all []Lack) {
	if l == nil {
		return nil
	}
	add := func(kind LackKind, value, field string) { all = append(all, Lack{kind, value, "linux." + field}) }
	for i, n := range l.Namespaces {
		_, known := namespaceFlags[n.Type]
		if !known || n.Path != "" && (n.Type == specs.MountNamespace || n.Type == specs.TimeNamespace) {
			add(LackNamespace, string(n.Type), fmt.Sprintf("namespaces[%d]", i))
		}
	}
	if len(l.NetDevices) > 0 {
		add(LackNetDevices, "", "netDevices")
	}
	if field := notifies(l.Seccomp); field != "" {
		add(LackSeccompNotify, "", "seccomp."+field)
	}
	if l.IntelRdt != nil {
		add(LackIntelRdt, "", "intelRdt")
	}
	if l.MemoryPolicy != nil {
		add(LackMemoryPolicy, "", "memoryPolicy")
	}
	if p := l.Personality; p != nil {
		if _, known := personalities[p.Domain]; !known || len(p.Flags) > 0 {
			add(LackPersonality, strings.TrimSpace(fmt.Sprint(p.Domain, " ", strings.Join(flagTexts(p.Flags), " "))), "personality")
		}
	}
	return all
}

// foreignOptions are mount options that runtimes carry out by themselves: no
// filesystem knows them.
var foreignOptions = map[string]bool{
	"tmpcopyup": true, "remount": true, // runc's and crun's
	"copy-symlink": true, "src-nofollow": true, "dest-nofollow": true, // crun's
	"idmap": true, "ridmap": true, // crun's with values; alone they are the specification's
}

type hookList struct {
	name string
	list []specs.Hook
}

func hooks(h *specs.Hooks) []hookList {
	if h == nil {
		return nil
	}
	return []hookList{
		{"prestart", h.Prestart},
		{"createRuntime", h.CreateRuntime}, {"createContainer", h.CreateContainer}, {"startContainer", h.StartContainer},
		{"poststart", h.Poststart}, {"poststop", h.Poststop},
	}
}

// notifies tells by which field a policy asks for somebody to decide on calls.
func notifies(s *specs.LinuxSeccomp) string {
	switch {
	case s == nil:
		return ""
	case s.ListenerPath != "":
		return "listenerPath"
	case s.DefaultAction == specs.ActNotify:
		return "defaultAction"
	}
	for i, f := range s.Flags {
		if f == specs.LinuxSeccompFlagWaitKillableRecv {
			return fmt.Sprintf("flags[%d]", i)
		}
	}
	for i, c := range s.Syscalls {
		if c.Action == specs.ActNotify {
			return fmt.Sprintf("syscalls[%d].action", i)
		}
	}
	return ""
}

func flagTexts(flags []specs.LinuxPersonalityFlag) []string {
	texts := make([]string, len(flags))
	for i, f := range flags {
		texts[i] = string(f)
	}
	return texts
}

// refuse makes an error of what is lacking.
func refuse(all []Lack) error {
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w by the native runtime", all[0], fault.Unsupported)
}
