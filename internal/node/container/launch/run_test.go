package launch

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTable(t *testing.T) {
	for name, tt := range map[string]struct {
		fill func(t *table)
		want string
	}{
		"a failed call is named": {func(t *table) {
			t.call("close", "nothing", unix.SYS_CLOSE, 9999)
		}, "close nothing: bad file descriptor"},
		"an error above 63 can be tolerated": {func(t *table) {
			t.call("connect", "", unix.SYS_SENDTO, 9999).except(unix.EBADF)
			s := t.call("socket", "", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			g := t.call("getpeername", "", unix.SYS_GETPEERNAME, 0, t.str(strings.Repeat(" ", 128)), put(t, uint32(128))).except(unix.ENOTCONN)
			s.feeds(g, 0)
			t.call("stop", "here", unix.SYS_CLOSE, 9999)
		}, "stop here: bad file descriptor"},
		"a call runs only if another failed": {func(t *table) {
			good := t.call("umask", "", unix.SYS_UMASK, 0)
			t.call("skipped", "", unix.SYS_CLOSE, 9999).ifFailed(good)
			bad := t.call("close", "", unix.SYS_CLOSE, 9999).except(unix.EBADF)
			t.call("reached", "", unix.SYS_CLOSE, 9999).ifFailed(bad)
		}, "reached: bad file descriptor"},
		"a call that depends on a skipped one is skipped": {func(t *table) {
			good := t.call("umask", "", unix.SYS_UMASK, 0)
			skipped := t.call("skipped", "", unix.SYS_CLOSE, 9999).ifFailed(good)
			t.call("skipped too", "", unix.SYS_CLOSE, 9999).ifFailed(skipped)
			t.call("stop", "here", unix.SYS_CLOSE, 9999)
		}, "stop here: bad file descriptor"},
		"a child that takes too long is killed": {func(t *table) {
			t.limit = 30 * time.Millisecond
			t.call("wait for", "ever", unix.SYS_PPOLL, 0, 0, 0, 0)
		}, "wait for ever: the process was killed before it could start"},
		"of several attempts the telling error is kept": {func(t *table) {
			for _, p := range []string{"/none", "/etc/passwd", "/none"} {
				t.call("exec", "x", unix.SYS_EXECVE, t.str(p), t.strs([]string{"x"}), t.strs(nil)).except(unix.ENOENT, unix.EACCES)
			}
		}, `exec: "x": permission denied`},
		"a table that is full says so": {func(t *table) {
			for range 20 {
				t.call("umask", "", unix.SYS_UMASK, 0)
			}
		}, "more than 16 steps: out of resources"},
	} {
		t.Run(name, func(t *testing.T) {
			tab, err := newTable(16, 4096)
			must(t, err)
			defer tab.close()
			tt.fill(tab)
			p, err := tab.run(cloneArgs{}, nil)
			if p != nil || err == nil || err.Error() != tt.want {
				t.Errorf("run = %v, %v; want %s", p, err, tt.want)
			}
			if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WALL|unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
				t.Errorf("waitid = %v, want no child left", err)
			}
		})
	}
}
