package launch

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

var nativeEndian = binary.NativeEndian

var rlimitNumbers = map[string]int{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

// plainFiles is the soft limit of open files that a process gets when nobody
// sets it. Go raises its own to the hard limit at start, which is not for
// containers: with many descriptors programs that use select(2) overrun.
const plainFiles = 1024

// limited is a resource limit to set.
type limited struct {
	name string
	n    int
	unix.Rlimit
}

// rlimits works out the resource limits. Without CAP_SYS_RESOURCE a hard limit
// cannot be raised above ours, and is set to that.
//
// Those that rise above ours are raised at once, with the host's privileges. All
// are set by applyLimits when the child has opened its last file: it starts
// with copies of all our descriptors, often more than a container may have.
func (l *launcher) rlimits(list []specs.POSIXRlimit) error {
	caps, err := permitted()
	if err != nil {
		return err
	}
	files := false
	for _, r := range list {
		n, ok := rlimitNumbers[strings.ToUpper(r.Type)]
		if !ok {
			return fmt.Errorf("rlimit %q: %w", r.Type, fault.Invalid)
		}
		if r.Soft > r.Hard {
			return fmt.Errorf("rlimit %s: soft %d is above hard %d: %w", r.Type, r.Soft, r.Hard, fault.Invalid)
		}
		files = files || n == unix.RLIMIT_NOFILE
		lim := limited{r.Type, n, unix.Rlimit{Cur: r.Soft, Max: r.Hard}}
		ours, err := getrlimit(r.Type, n)
		if err != nil {
			return err
		}
		switch {
		case lim.Max <= ours.Max:
		case caps&(1<<unix.CAP_SYS_RESOURCE) == 0:
			lim.Max = ours.Max
			lim.Cur = min(lim.Cur, ours.Max)
		default:
			l.setrlimit(limited{r.Type, n, unix.Rlimit{Cur: ours.Cur, Max: lim.Max}})
		}
		l.limits = append(l.limits, lim)
	}
	if files {
		return nil
	}
	ours, err := getrlimit("RLIMIT_NOFILE", unix.RLIMIT_NOFILE)
	if err != nil {
		return err
	}
	soft := unix.Rlimit{Cur: min(plainFiles, ours.Max), Max: ours.Max}
	l.limits = append(l.limits, limited{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE, soft})
	return nil
}

func getrlimit(name string, n int) (ours unix.Rlimit, err error) {
	if err := unix.Prlimit(0, n, nil, &ours); err != nil {
		return ours, failed("getrlimit", name, err)
	}
	return ours, nil
}

func (l *launcher) applyLimits() {
	for _, lim := range l.limits {
		l.setrlimit(lim)
	}
}

func (l *launcher) setrlimit(lim limited) {
	l.call("setrlimit", lim.name, unix.SYS_PRLIMIT64, 0, uintptr(lim.n), put(l.table, lim.Rlimit), 0)
}

// scheduling sets how the kernel treats the process.
func (l *launcher) scheduling(p *specs.Process) {
	if io := p.IOPriority; io != nil {
		class := map[specs.IOPriorityClass]int{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}[io.Class]
		l.call("ioprio_set", string(io.Class), unix.SYS_IOPRIO_SET, 1, 0, uintptr(class<<13|io.Priority))
	}
	if s := p.Scheduler; s != nil {
		policy := map[specs.LinuxSchedulerPolicy]uint32{
			specs.SchedOther: 0, specs.SchedFIFO: 1, specs.SchedRR: 2, specs.SchedBatch: 3, specs.SchedIdle: 5, specs.SchedDeadline: 6,
		}[s.Policy]
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Nice: s.Nice, Priority: uint32(s.Priority),
			Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period}
		for _, f := range s.Flags {
			attr.Flags |= map[specs.LinuxSchedulerFlag]uint64{
				specs.SchedFlagResetOnFork: 1, specs.SchedFlagReclaim: 2, specs.SchedFlagDLOverrun: 4, specs.SchedFlagKeepPolicy: 8,
				specs.SchedFlagKeepParams: 16, specs.SchedFlagUtilClampMin: 32, specs.SchedFlagUtilClampMax: 64,
			}[f]
		}
		l.call("sched_setattr", string(s.Policy), unix.SYS_SCHED_SETATTR, 0, put(l.table, attr), 0)
	}
}

// personality makes the process see another execution domain.
func (l *launcher) personality(p *specs.LinuxPersonality) error {
	if p == nil {
		return nil
	}
	domain, ok := map[specs.LinuxPersonalityDomain]uintptr{specs.PerLinux: 0, specs.PerLinux32: 8}[p.Domain]
	if !ok || len(p.Flags) > 0 {
		return fmt.Errorf("personality %s %v: %w", p.Domain, p.Flags, fault.Unsupported)
	}
	l.call("set personality", string(p.Domain), unix.SYS_PERSONALITY, domain)
	return nil
}

// labels sets what AppArmor and SELinux know the process by, on kernels that
// have them. It takes effect at execve.
func (l *launcher) labels(p *specs.Process) error {
	if p.ApparmorProfile != "" && p.ApparmorProfile != "unconfined" {
		if b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil && strings.HasPrefix(string(b), "Y") {
			file := "self/attr/apparmor/exec"
			if _, err := os.Stat("/proc/" + file); err != nil {
				file = "self/attr/exec"
			}
			l.write(file, "exec "+p.ApparmorProfile)
		}
	}
	if p.SelinuxLabel != "" {
		if selinux() {
			l.write("self/attr/exec", p.SelinuxLabel)
		}
	}
	return nil
}

func selinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// homeOf looks the user's home up in the container's own /etc/passwd, without
// leaving the root. It is / for those who have none there.
func homeOf(root int, uid uint32) string {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := again(func() (int, error) { return unix.Openat2(root, "etc/passwd", &how) })
	if err != nil {
		return "/"
	}
	f := os.NewFile(uintptr(fd), "/etc/passwd")
	defer f.Close()
	want := strconv.FormatUint(uint64(uid), 10)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if e := strings.Split(lines.Text(), ":"); len(e) >= 6 && e[2] == want && e[5] != "" {
			return e[5]
		}
	}
	return "/"
}

// copyFilter copies a filter into the table's memory.
func copyFilter(b []byte, filter []unix.SockFilter) *unix.SockFilter {
	p := (*unix.SockFilter)(unsafe.Pointer(&b[0]))
	copy(unsafe.Slice(p, len(filter)), filter)
	return p
}
