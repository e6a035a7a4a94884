package kube

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// watchers is how many inotify instances a node's own parts have open (18 were
// counted), with some to spare.
const watchers = 24

// checkWatchers looks whether the kernel still has inotify instances for this
// user. Without them upstream's kubelet says so in its log and the node never
// becomes ready; many programs that watch files use up the usual limit of 128.
func checkWatchers(n int) error {
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd) // nothing was written to it
		}
	}()
	for len(fds) < n {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if errors.Is(err, unix.EMFILE) {
			return fmt.Errorf("%d inotify instances are needed and %d are left (%w): raise the limit with `sysctl -w fs.inotify.max_user_instances=1024`: %w",
				n, len(fds), err, fault.Precondition)
		}
		if err != nil {
			return fmt.Errorf("inotify: %w", err)
		}
		fds = append(fds, fd)
	}
	return nil
}
