package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// capNames are the kernel's capabilities in the order of their numbers.
var capNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// defaultCaps are what containerd and docker give.
var defaultCaps = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
	"CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// capabilities decides what the process may do beyond its user's rights. What
// the engine itself lacks it cannot give, and leaves out as runc does.
func (b *builder) capabilities(context.Context) error {
	s := &b.rec.Config.Security
	var caps, ambient []string
	if s.Privileged {
		caps = slices.Clone(b.engine.machine.caps)
	} else {
		var err error
		if caps, err = requestedCaps("add_capabilities", defaultCaps[:], s.AddCaps, s.DropCaps, b.engine.machine.caps); err != nil {
			return err
		}
		if ambient, err = requestedCaps("add_ambient_capabilities", nil, s.AmbientCaps, nil, b.engine.machine.caps); err != nil {
			return err
		}
		caps = appendNew(caps, ambient...)
	}
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{
		Bounding: caps, Effective: caps, Permitted: caps, Inheritable: ambient, Ambient: ambient,
	}
	return nil
}

// requestedCaps changes base: "ALL" first, in either list, then single names,
// so that "drop ALL, add CHOWN" gives one and "add ALL, drop CHOWN" all but one.
func requestedCaps(field string, base, add, drop, have []string) ([]string, error) {
	adds, addAll, err := capList(field, add)
	if err != nil {
		return nil, err
	}
	drops, dropAll, err := capList("drop_capabilities", drop)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(base)
	if addAll {
		out = slices.Clone(have)
	}
	if dropAll {
		out = nil
	}
	out = appendNew(out, adds...)
	return slices.DeleteFunc(out, func(c string) bool {
		return slices.Contains(drops, c) || !slices.Contains(have, c)
	}), nil
}

// capList reads names with or without CAP_, in any case.
func capList(field string, names []string) (caps []string, all bool, err error) {
	for i, n := range names {
		c := strings.ToUpper(n)
		if c == "ALL" || c == "CAP_ALL" {
			all = true
			continue
		}
		if !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if !slices.Contains(capNames[:], c) {
			return nil, false, fmt.Errorf("security_context.capabilities.%s[%d]: %q is unknown: %w", field, i, n, fault.Invalid)
		}
		caps = append(caps, c)
	}
	return caps, all, nil
}
