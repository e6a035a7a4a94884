package keeper

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhyAStockRuntimeCouldNotExecute(t *testing.T) {
	for text, want := range map[string]unix.Errno{
		`runc create failed: unable to start container process: exec: "nginx": executable file not found in $PATH`:                                     unix.ENOENT,
		`exec failed: unable to start container process: exec: "/bin/none": stat /bin/none: no such file or directory`:                                 unix.ENOENT,
		`runc create failed: unable to start container process: exec: "/bin/data": permission denied`:                                                  unix.EACCES,
		"executable file `/bin/none` not found: No such file or directory":                                                                             unix.ENOENT,
		"executable file `nginx` not found in $PATH: No such file or directory":                                                                        unix.ENOENT,
		"open executable: Permission denied":                                                                                                           unix.EACCES,
		"exec /bin/text: Exec format error":                                                                                                            unix.ENOEXEC,
		`runc create failed: unable to start container process: error during container init: error mounting "/x" to rootfs: no such file or directory`: 0,
		"creating cgroup directory `/sys/fs/cgroup/unified/x`: No such file or directory":                                                              0,
	} {
		if got := notExecuted(text); got != want {
			t.Errorf("notExecuted(%q) = %v, want %v", text, got, want)
		}
	}
}
