package launch

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// A child has copies of all the caller's descriptors, which it then closes one
// by one: where the caller keeps thousands, that is a sixth of the child's work.
// So the child begins with the caller's own ones, and its first step is to take
// copies of those below Request.Private.

// leaveBehind adds that step, which share completes.
func (l *launcher) leaveBehind() {
	l.leave = l.call("leave descriptors", "", unix.SYS_CLOSE_RANGE, math.MaxUint32, math.MaxUint32, unix.CLOSE_RANGE_UNSHARE)
}

// share has the child begin with the caller's descriptors, unless one that the
// table needs would be left behind. It comes when the table is complete.
func (l *launcher) share(req Request, args *cloneArgs) {
	needed := append([]*os.File{l.bare, l.full, l.proc, req.Stdin, req.Stdout, req.Stderr}, req.Cgroups...)
	last := 0
	for _, f := range needed {
		if f != nil {
			last = max(last, int(f.Fd()))
		}
	}
	for _, fd := range l.opened {
		last = max(last, fd)
	}
	if last >= req.Private {
		return
	}
	l.leave.args[0] = uintptr(req.Private)
	if l.inner != nil {
		l.inner.flags |= unix.CLONE_FILES
	} else {
		args.flags |= unix.CLONE_FILES
	}
}
