package launch

import (
	"encoding/binary"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// capabilities are the kernel's, by number.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
	"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// capSet is a set of capabilities, one bit each.
type capSet uint64

// capsOf reads names. One that this kernel does not know is left out, as every
// runtime does: "all" is written for the newest kernel.
func capsOf(names []string) (s capSet) {
	for _, name := range names {
		for i, known := range capabilities {
			if strings.EqualFold(name, known) {
				s |= 1 << i
			}
		}
	}
	return s
}

// permitted are the capabilities of this process. A container cannot be given
// more; on a machine that withholds some, "all" means all that there are.
func permitted() (capSet, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0, failed("capget", "", err)
	}
	return capSet(data[0].Permitted) | capSet(data[1].Permitted)<<32, nil
}

// identity gives the child its user, groups and capabilities.
func (l *launcher) identity(p *specs.Process) error {
	sets := specs.LinuxCapabilities{}
	if p.Capabilities != nil {
		sets = *p.Capabilities
	}
	limit := ^capSet(0)
	if l.users == nil {
		var err error
		if limit, err = permitted(); err != nil {
			return err
		}
	}
	bounding := capsOf(sets.Bounding)
	for i := range capabilities {
		if bounding&(1<<i) == 0 {
			l.call("drop capability", capabilities[i], unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(i)).except(unix.EINVAL)
		}
	}
	// Changing the user drops the capabilities that are to stay.
	l.call("keep capabilities", "", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1)
	l.user(p.User)
	l.call("keep capabilities", "", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0)

	effective, allowed := capsOf(sets.Effective)&limit, capsOf(sets.Permitted)&limit
	inheritable := capsOf(sets.Inheritable) & limit
	hdr := put(l.table, unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3})
	data := put(l.table, [2]unix.CapUserData{
		{Effective: uint32(effective), Permitted: uint32(allowed), Inheritable: uint32(inheritable)},
		{Effective: uint32(effective >> 32), Permitted: uint32(allowed >> 32), Inheritable: uint32(inheritable >> 32)},
	})
	l.call("set capabilities", "", unix.SYS_CAPSET, hdr, data)
	l.call("clear ambient capabilities", "", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0).
		except(unix.EINVAL)
	ambient := capsOf(sets.Ambient) & limit
	for i := range capabilities {
		if ambient&(1<<i) != 0 {
			l.call("raise ambient capability", capabilities[i], unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(i), 0, 0)
		}
	}
	return nil
}

// user sets groups before the user, who could not set them any more.
func (l *launcher) user(u specs.User) {
	var list uintptr
	if n := len(u.AdditionalGids); n > 0 {
		b := make([]byte, 0, 4*n)
		for _, g := range u.AdditionalGids {
			b = binary.NativeEndian.AppendUint32(b, g)
		}
		list = l.bytes(b)
	}
	l.call("setgroups", "", unix.SYS_SETGROUPS, uintptr(len(u.AdditionalGids)), list)
	l.call("setgid", "", unix.SYS_SETRESGID, uintptr(u.GID), uintptr(u.GID), uintptr(u.GID))
	l.call("setuid", "", unix.SYS_SETRESUID, uintptr(u.UID), uintptr(u.UID), uintptr(u.UID))
}
