package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// ipcSysctls belong to an IPC namespace, beside all of fs.mqueue.
var ipcSysctls = map[string]bool{
	"kernel.msgmax": true, "kernel.msgmnb": true, "kernel.msgmni": true, "kernel.sem": true,
	"kernel.shmall": true, "kernel.shmmax": true, "kernel.shmmni": true, "kernel.shm_rmid_forced": true,
}

// checkSysctls refuses what would be set on the host, or does not exist.
func checkSysctls(cfg *PodConfig) error {
	for name, value := range cfg.Sysctls {
		// Both net.ipv4.x and net/ipv4/x are in use.
		name := strings.ReplaceAll(name, "/", ".")
		switch {
		case strings.ContainsAny(value, "\x00\n") || strings.Contains(name, ".."):
			return fmt.Errorf("pod: sysctls: %q: %w", name, fault.Invalid)
		case strings.HasPrefix(name, "net."):
			if cfg.Net == ModeNode || cfg.Net == ModeContainer {
				return fmt.Errorf("pod: sysctls: %s would be set on the host, whose network the pod uses: %w", name, fault.Invalid)
			}
			continue // which exist differs between network namespaces
		case ipcSysctls[name], strings.HasPrefix(name, "fs.mqueue."):
			if cfg.IPC == ModeNode {
				return fmt.Errorf("pod: sysctls: %s would be set on the host, whose IPC the pod uses: %w", name, fault.Invalid)
			}
		default:
			return fmt.Errorf("pod: sysctls: %s belongs to no namespace of a pod: %w", name, fault.Invalid)
		}
		if _, err := os.Stat(filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))); err != nil {
			return fmt.Errorf("pod: sysctls: %s: not in this kernel: %w", name, fault.Precondition)
		}
	}
	return nil
}
