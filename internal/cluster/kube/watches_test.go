package kube

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// TestInotifyUsedUpIsSaid runs again in a user namespace, whose limit can be set
// without taking anything from the machine.
func TestInotifyUsedUpIsSaid(t *testing.T) {
	const inside = "SAMPAN_TEST_FEW_WATCHERS"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), inside+"=1")
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, Pdeathsig: syscall.SIGKILL}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_inotify_instances", []byte("6"), 0); err != nil {
		t.Fatal(err)
	}
	err := checkWatchers(8)
	if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), "8 inotify instances are needed and 6 are left") {
		t.Errorf("checkWatchers(8) with 6 left = %v", err)
	}
	if err := checkWatchers(6); err != nil {
		t.Errorf("checkWatchers(6) with 6 left = %v; the first check has kept some", err)
	}
}
