package launch

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

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
