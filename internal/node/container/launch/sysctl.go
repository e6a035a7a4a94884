package launch

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// sysctlPath turns a.b.c into a/b/c. When the first separator is a slash, the
// name is a path already and its dots are literal, as in net/ipv4/conf/eth0.1.
func sysctlPath(key string) string {
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		return strings.NewReplacer(".", "/", "/", ".").Replace(key)
	}
	return key
}

// checkSysctls refuses settings that are not the container's alone.
func (l *launcher) checkSysctls(spec *specs.Spec) error {
	for key := range spec.Linux.Sysctl {
		p := sysctlPath(key)
		var flag uintptr
		switch {
		case strings.Contains(p, ".."):
		case strings.HasPrefix(p, "net/"):
			flag = unix.CLONE_NEWNET
		case strings.HasPrefix(p, "fs/mqueue/"), strings.HasPrefix(p, "kernel/msg"),
			strings.HasPrefix(p, "kernel/shm"), p == "kernel/sem":
			flag = unix.CLONE_NEWIPC
		case p == "kernel/domainname":
			flag = unix.CLONE_NEWUTS
		}
		if flag == 0 {
			return fmt.Errorf("sysctl %s does not belong to a namespace: %w", key, fault.Invalid)
		}
		if !l.ns.has(flag) {
			return fmt.Errorf("sysctl %s would change the host: the container shares its %s namespace: %w", key, flagNames(flag), fault.Invalid)
		}
	}
	return nil
}
