package keeper

import (
	"sync"

	"golang.org/x/sys/unix"
)

// firstOwn is the number from which on the keeper's own descriptors are: what it
// keeps of its containers. A new container's process needs none of them, and is
// faster when it does not have to close thousands. On a machine that allows few
// descriptors it is a quarter of them.
var firstOwn = sync.OnceValue(func() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur/4, 1<<14))
})

// apart moves a descriptor to the keeper's own. One that cannot be moved is fine
// where it is.
func apart(fd int) int {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstOwn())
	if err != nil {
		return fd
	}
	unix.Close(fd)
	return own
}
