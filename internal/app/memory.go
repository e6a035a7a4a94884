package app

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// While it starts, the daemon allocates ten times what it keeps. To collect less
	// would start it sooner and leave it a heap full of holes.
	startGCPercent = 100
	// Afterwards a little processor time, of which an idle daemon uses hardly any,
	// is traded for the memory that waits to be collected.
	gcPercent = 50
	// settled is how long after the start every informer has read what there is.
	settled = 15 * time.Second
)

// giveBack returns to the machine what only the start needed: its garbage, which
// the runtime would give back over many minutes, and the pages of the program's
// initialisers. What is needed again is read again from the page cache.
func giveBack(ctx context.Context, log *slog.Logger) {
	select {
	case <-time.After(settled):
	case <-ctx.Done():
		return
	}
	setGCPercent(gcPercent)
	debug.FreeOSMemory()
	if err := dropProgramPages(); err != nil {
		log.Debug("program pages not dropped", "err", err)
	}
}

// setGCPercent leaves alone what the user has set.
func setGCPercent(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// dropProgramPages lets go of this program's pages that cannot have been written
// to: they are the file's own, and come back from there.
func dropProgramPages() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var start, end uintptr
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &start, &end, &mode); err != nil {
			continue
		}
		if !strings.HasSuffix(lines.Text(), " "+self) || strings.Contains(mode, "w") {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return lines.Err()
}
