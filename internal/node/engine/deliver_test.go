package engine

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/sampan-cloud/sampan/test/need"
)

func TestOnlyTheFirstProcessOfANamespaceMustCatchASignal(t *testing.T) {
	need.Root(t) // makes a process namespace
	for name, tt := range map[string]struct {
		flags  uintptr
		script string
		want   bool
	}{
		"the first one that does not catch it": {syscall.CLONE_NEWPID, "echo; read x", false},
		"the first one that catches it":        {syscall.CLONE_NEWPID, "trap : TERM; echo; read x", true},
		"one among others":                     {0, "echo; read x", true},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", tt.script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: tt.flags, Pdeathsig: syscall.SIGKILL}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { in.Close(); cmd.Process.Kill(); _ = cmd.Wait() }()
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if got := catches(cmd.Process.Pid, int(syscall.SIGTERM)); got != tt.want {
				t.Errorf("catches = %t, want %t", got, tt.want)
			}
		})
	}
	if !catches(1<<22+1, int(syscall.SIGTERM)) {
		t.Error("a process that is not there holds up the signal")
	}
}
