package keeper

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/pidfd"
)

// The keeper needs little of cgroups: whether memory ran out, and who is left.
// The daemon makes and removes them.

// oomKills counts the processes that the kernel killed for memory in a cgroup,
// given by its directories.
func oomKills(dirs []string) uint64 {
	for _, dir := range dirs {
		for _, name := range []string{"memory.events", "memory.oom_control"} { // version 2, version 1
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				continue
			}
			for line := range bytes.Lines(data) {
				if n, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
					count, _ := strconv.ParseUint(string(bytes.TrimSpace(n)), 10, 64)
					return count
				}
			}
		}
	}
	return 0
}

// killAll ends every process in a cgroup, also those born meanwhile.
func killAll(dirs []string) {
	for range 100 {
		pids := processes(dirs)
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// processes lists who is in a cgroup and not dead yet.
func processes(dirs []string) []int {
	for _, dir := range dirs {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		var pids []int
		for field := range bytes.FieldsSeq(data) {
			pid, err := strconv.Atoi(string(field))
			if err != nil || pid <= 0 {
				continue
			}
			if st, err := pidfd.ReadStat(pid); err == nil && st.State != 'Z' {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	return nil
}
