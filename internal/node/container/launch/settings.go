package launch

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

var (
	ioClasses = map[specs.IOPriorityClass]int{specs.IOPRIO_CLASS_RT: 1, specs.IOPRIO_CLASS_BE: 2, specs.IOPRIO_CLASS_IDLE: 3}
	policies  = map[specs.LinuxSchedulerPolicy]uint32{
		specs.SchedOther: 0, specs.SchedFIFO: 1, specs.SchedRR: 2, specs.SchedBatch: 3, specs.SchedIdle: 5, specs.SchedDeadline: 6,
	}
	policyFlags = map[specs.LinuxSchedulerFlag]uint64{
		specs.SchedFlagResetOnFork: 1, specs.SchedFlagReclaim: 2, specs.SchedFlagDLOverrun: 4, specs.SchedFlagKeepPolicy: 8,
		specs.SchedFlagKeepParams: 16, specs.SchedFlagUtilClampMin: 32, specs.SchedFlagUtilClampMax: 64,
	}
)

// checkScheduling refuses words that stand for nothing.
func checkScheduling(p *specs.Process) error {
	if io := p.IOPriority; io != nil {
		if _, ok := ioClasses[io.Class]; !ok {
			return fmt.Errorf("process.ioPriority.class %q: %w", io.Class, fault.Invalid)
		}
	}
	if s := p.Scheduler; s != nil {
		if _, ok := policies[s.Policy]; !ok {
			return fmt.Errorf("process.scheduler.policy %q: %w", s.Policy, fault.Invalid)
		}
		for i, f := range s.Flags {
			if _, ok := policyFlags[f]; !ok {
				return fmt.Errorf("process.scheduler.flags[%d] %q: %w", i, f, fault.Invalid)
			}
		}
	}
	return nil
}

// scheduling sets how the kernel treats the process.
func (l *launcher) scheduling(p *specs.Process) {
	if io := p.IOPriority; io != nil {
		l.call("ioprio_set", string(io.Class), unix.SYS_IOPRIO_SET, 1, 0, uintptr(ioClasses[io.Class]<<13|io.Priority))
	}
	if s := p.Scheduler; s != nil {
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policies[s.Policy], Nice: s.Nice, Priority: uint32(s.Priority),
			Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period}
		for _, f := range s.Flags {
			attr.Flags |= policyFlags[f]
		}
		l.call("sched_setattr", string(s.Policy), unix.SYS_SCHED_SETATTR, 0, put(l.table, attr), 0)
	}
}

// personalities are the execution domains of the specification.
var personalities = map[specs.LinuxPersonalityDomain]uintptr{specs.PerLinux: 0, specs.PerLinux32: 8}

// personality makes the process see another execution domain.
func (l *launcher) personality(p *specs.LinuxPersonality) {
	if p != nil {
		l.call("set personality", string(p.Domain), unix.SYS_PERSONALITY, personalities[p.Domain])
	}
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
			l.procfs(file, "exec "+p.ApparmorProfile)
		}
	}
	if p.SelinuxLabel != "" {
		if selinux() {
			l.procfs("self/attr/exec", p.SelinuxLabel)
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
