package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// A profile is a policy as users write it: that of the OCI specification, or
// Docker's, whose rules may depend on the machine and the container.
type profile struct {
	DefaultAction    specs.LinuxSeccompAction `json:"defaultAction"`
	DefaultErrnoRet  *uint                    `json:"defaultErrnoRet"`
	DefaultErrno     string                   `json:"defaultErrno"` // podman writes the name beside the number
	Architectures    []specs.Arch             `json:"architectures"`
	ArchMap          []archMap                `json:"archMap"`
	Flags            []specs.LinuxSeccompFlag `json:"flags"`
	ListenerPath     string                   `json:"listenerPath"`
	ListenerMetadata string                   `json:"listenerMetadata"`
	Syscalls         []profileRule            `json:"syscalls"`
}

// archMap lists the architectures to add on a machine of one.
type archMap struct {
	Architecture     specs.Arch   `json:"architecture"`
	SubArchitectures []specs.Arch `json:"subArchitectures"`
}

type profileRule struct {
	Name     string                   `json:"name"`
	Names    []string                 `json:"names"`
	Action   specs.LinuxSeccompAction `json:"action"`
	ErrnoRet *uint                    `json:"errnoRet"`
	Errno    string                   `json:"errno"`
	Args     []specs.LinuxSeccompArg  `json:"args"`
	Comment  string                   `json:"comment"`
	Includes condition                `json:"includes"`
	Excludes condition                `json:"excludes"`
}

// A condition is about the machine and the container.
type condition struct {
	Arches    []string `json:"arches"`
	Caps      []string `json:"caps"`
	MinKernel string   `json:"minKernel"`
}

// LoadProfile reads a policy from a JSON file. Rules that depend on
// capabilities are settled with caps, the container's bounding set. A field that
// does not exist is refused: a rule that is silently not there is a hole.
func LoadProfile(path string, caps []string) (*specs.LinuxSeccomp, error) {
	text, err := readProfile(path)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	policy, err := parseProfile(text, caps)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile %s: %w", path, err)
	}
	return policy, nil
}

// maxProfile is far beyond what a filter can hold: a kernel takes 4096
// instructions.
const maxProfile = 4 << 20

// readProfile reads a file and nothing else: a pipe would never end, nor would a
// device.
func readProfile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file: %w", path, fault.Invalid)
	case info.Size() > maxProfile:
		return nil, fmt.Errorf("%s has %d bytes, more than %d: %w", path, info.Size(), maxProfile, fault.Invalid)
	}
	return io.ReadAll(io.LimitReader(f, maxProfile))
}

func parseProfile(text []byte, caps []string) (*specs.LinuxSeccomp, error) {
	var in profile
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(&in)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the profile")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, fault.Invalid)
	}
	if in.DefaultErrno != "" && in.DefaultErrnoRet == nil {
		return nil, fmt.Errorf("defaultErrno: %q needs its number in defaultErrnoRet: %w", in.DefaultErrno, fault.Invalid)
	}
	policy := &specs.LinuxSeccomp{
		DefaultAction: in.DefaultAction, DefaultErrnoRet: in.DefaultErrnoRet, Architectures: in.Architectures,
		Flags: in.Flags, ListenerPath: in.ListenerPath, ListenerMetadata: in.ListenerMetadata,
	}
	if len(in.ArchMap) > 0 {
		if len(in.Architectures) > 0 {
			return nil, fmt.Errorf("archMap: architectures is given too: %w", fault.Invalid)
		}
		for _, m := range in.ArchMap {
			if a, ours, _ := parseArch(m.Architecture); ours && a == native() {
				policy.Architectures = append([]specs.Arch{m.Architecture}, m.SubArchitectures...)
			}
		}
	}
	for i, call := range in.Syscalls {
		if call.Name != "" {
			if len(call.Names) > 0 {
				return nil, fmt.Errorf("syscalls[%d].name: names is given too: %w", i, fault.Invalid)
			}
			call.Names = []string{call.Name}
		}
		if call.Errno != "" && call.ErrnoRet == nil {
			return nil, fmt.Errorf("syscalls[%d].errno: %q needs its number in errnoRet: %w", i, call.Errno, fault.Invalid)
		}
		applies, err := call.applies(caps)
		if err != nil {
			return nil, fmt.Errorf("syscalls[%d].%w", i, err)
		}
		if applies {
			policy.Syscalls = append(policy.Syscalls, specs.LinuxSyscall{Names: call.Names, Action: call.Action, ErrnoRet: call.ErrnoRet, Args: call.Args})
		}
	}
	if disabled(policy) {
		return nil, fmt.Errorf("defaultAction: missing: %w", fault.Invalid)
	}
	// What the native runtime cannot do is no mistake: another one may.
	if _, err := parse(policy, native()); err != nil && fault.Of(err) != fault.Unsupported {
		return nil, err
	}
	return policy, nil
}

// applies tells whether a rule counts here: where all that it includes is so
// and nothing that it excludes.
func (r profileRule) applies(caps []string) (bool, error) {
	newEnough := func(c condition, field string) (bool, error) {
		if c.MinKernel == "" {
			return false, nil
		}
		ok, err := kernelAtLeast(c.MinKernel)
		if err != nil {
			return false, fmt.Errorf("%s.minKernel: %w", field, err)
		}
		return ok, nil
	}
	has := func(c string) bool { return slices.Contains(caps, c) }
	excluded, err := newEnough(r.Excludes, "excludes")
	if err != nil {
		return false, err
	}
	included, err := newEnough(r.Includes, "includes")
	if err != nil {
		return false, err
	}
	switch {
	case excluded, slices.Contains(r.Excludes.Arches, runtime.GOARCH), slices.ContainsFunc(r.Excludes.Caps, has):
		return false, nil
	case r.Includes.MinKernel != "" && !included:
		return false, nil
	case len(r.Includes.Arches) > 0 && !slices.Contains(r.Includes.Arches, runtime.GOARCH):
		return false, nil
	}
	for _, c := range r.Includes.Caps {
		if !has(c) {
			return false, nil
		}
	}
	return true, nil
}

// kernelAtLeast compares "4.8" with the running kernel.
func kernelAtLeast(version string) (bool, error) {
	var major, minor, haveMajor, haveMinor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false, fmt.Errorf("%q is not a version such as 4.8: %w", version, fault.Invalid)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false, fmt.Errorf("uname: %w", err)
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &haveMajor, &haveMinor); err != nil {
		return false, fmt.Errorf("uname: release %q: %w", u.Release, err)
	}
	return haveMajor > major || haveMajor == major && haveMinor >= minor, nil
}
