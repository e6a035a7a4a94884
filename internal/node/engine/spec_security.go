package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/seccomp"
)

// security decides what confines the process.
func (b *builder) security(context.Context) error {
	s, p := &b.rec.Config.Security, b.spec.Process
	p.NoNewPrivileges = s.NoNewPrivileges
	if s.Privileged {
		// Privileged means unconfined, whatever else the request says; SELinux
		// alone keeps its label.
		return b.selinux()
	}
	b.spec.Linux.MaskedPaths = s.MaskedPaths
	b.spec.Linux.ReadonlyPaths = s.ReadonlyPaths
	profile, err := b.engine.seccomp(s.Seccomp, p.Capabilities.Bounding)
	if err != nil {
		return fmt.Errorf("security_context.seccomp: %w", err)
	}
	b.spec.Linux.Seccomp = profile
	if p.ApparmorProfile, err = b.engine.apparmor(s.AppArmor); err != nil {
		return fmt.Errorf("security_context.apparmor: %w", err)
	}
	return b.selinux()
}

// seccomp returns the filter that a profile names; nil is none. An API that
// names no profile gets none: CRI defines it so.
func (e *Engine) seccomp(p Profile, caps []string) (*specs.LinuxSeccomp, error) {
	switch p.Type {
	case ProfileNone, ProfileUnconfined:
		return nil, nil
	case ProfileDefault:
		return e.parts.Seccomp(caps), nil
	case ProfileLocalhost:
		// Older clients put this in front of the path.
		file := strings.TrimPrefix(p.Ref, "localhost/")
		if !filepath.IsAbs(file) {
			return nil, fmt.Errorf("localhost_ref %q is not an absolute path: %w", p.Ref, fault.Invalid)
		}
		profile, err := seccomp.LoadProfile(file, caps)
		if err != nil {
			// A file that is not there is a mistake of the request as well.
			return nil, fmt.Errorf("%w: %w", fault.Invalid, err)
		}
		return profile, nil
	}
	return nil, fmt.Errorf("profile type %q: %w", p.Type, fault.Invalid)
}

// apparmor returns the profile's name; empty is none.
func (e *Engine) apparmor(p Profile) (string, error) {
	switch p.Type {
	case ProfileNone, ProfileUnconfined:
		return "", nil
	case ProfileDefault:
		// No profile of ours is loaded where the kernel has none to load it into;
		// where it has, the host's administrator decides by loading one.
		return "", nil
	case ProfileLocalhost:
		name := strings.TrimPrefix(p.Ref, "localhost/")
		if !e.machine.apparmor {
			return "", fmt.Errorf("profile %q: this kernel runs without AppArmor: %w", name, fault.Precondition)
		}
		loaded, err := os.ReadFile("/sys/kernel/security/apparmor/profiles")
		if err != nil {
			return "", fmt.Errorf("loaded profiles: %w", err)
		}
		for line := range strings.Lines(string(loaded)) {
			if n, _, _ := strings.Cut(line, " ("); n == name {
				return name, nil
			}
		}
		return "", fmt.Errorf("profile %q is not loaded: %w", name, fault.Precondition)
	}
	return "", fmt.Errorf("profile type %q: %w", p.Type, fault.Invalid)
}

func (b *builder) selinux() error {
	label := b.rec.Config.Security.SELinux
	if label == nil {
		label = b.pod.Config.SELinux
	}
	if err := b.engine.checkSELinux(label); err != nil {
		return err
	}
	if label == nil || *label == (SELinux{}) || !b.engine.machine.selinux {
		return nil
	}
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	user, role, level := or(label.User, "system_u"), or(label.Role, "system_r"), or(label.Level, "s0")
	b.spec.Process.SelinuxLabel = strings.Join([]string{user, role, or(label.Type, "container_t"), level}, ":")
	b.spec.Linux.MountLabel = strings.Join([]string{user, "object_r", "container_file_t", level}, ":")
	return nil
}

// checkSELinux refuses a label that this kernel cannot give. A level alone is
// let through: it tells apart what the default type confines, and without SELinux
// nothing is confined by that type. Kubernetes' conformance tests rely on it.
func (e *Engine) checkSELinux(label *SELinux) error {
	if label == nil || e.machine.selinux {
		return nil
	}
	if label.User != "" || label.Role != "" || label.Type != "" {
		return fmt.Errorf("security_context.selinux_options: this kernel runs without SELinux: %w", fault.Precondition)
	}
	return nil
}

// DefaultMaskedPaths are what containers must not see of the kernel; the kubelet
// sends the same.
func DefaultMaskedPaths() []string {
	return []string{
		"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
}

// DefaultReadonlyPaths are what containers may read of the kernel, not write.
func DefaultReadonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
