package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// A logFile is where both streams of a container are written. Only the loop
// uses it.
type logFile struct {
	wire.Log
	log    *slog.Logger // the keeper's own
	file   *os.File
	offset int64
	lost   int64 // bytes that could not be written since the last that could
	tell   func(wire.LogTrouble)
}

// openLog opens the container's log for more. Without a path it keeps nothing.
func openLog(cfg wire.Log, log *slog.Logger, tell func(wire.LogTrouble)) (*logFile, error) {
	l := &logFile{Log: cfg, log: log.With("file", cfg.Path), tell: tell}
	if cfg.Path == "" {
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o755); err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return l, l.open()
}

func (l *logFile) open() error {
	// Not O_APPEND: the journal names the offset of what is being written, and
	// the kernel ignores offsets then. O_NONBLOCK: a FIFO that nobody reads would
	// keep the whole keeper waiting; with it the kernel says so.
	low, err := os.OpenFile(l.Path, os.O_CREATE|os.O_WRONLY|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	f := os.NewFile(uintptr(take(low)), l.Path)
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("log %s: %w", l.Path, err)
	}
	l.close()
	l.file, l.offset = f, info.Size()
	return nil
}

// write adds whole lines. It never fails: a container must not notice a full
// disk, so what cannot be written is dropped, and that is said once.
func (l *logFile) write(lines []byte) {
	if l.file == nil || len(lines) == 0 {
		return
	}
	if _, err := l.file.WriteAt(lines, l.offset); err != nil {
		// Part of a line is worse than none.
		l.file.Truncate(l.offset)
		if l.lost == 0 {
			l.log.Warn("log stops, the container goes on", "err", err)
			l.tell(wire.LogTrouble{Path: l.Path, Err: err.Error()})
		}
		l.lost += int64(len(lines))
		return
	}
	if l.lost > 0 {
		l.log.Warn("log goes on", "lost", l.lost)
		l.tell(wire.LogTrouble{Path: l.Path, Lost: l.lost})
		l.lost = 0
	}
	l.offset += int64(len(lines))
}

// rotateIfFull begins a new log when this one has its size.
func (l *logFile) rotateIfFull() {
	if l.file == nil || l.Size <= 0 || l.offset < l.Size {
		return
	}
	if err := l.rotate(); err != nil {
		l.log.Warn("log not rotated", "err", err)
	}
}

// rotate moves the log aside and begins a new one; the oldest goes.
func (l *logFile) rotate() error {
	keep := max(l.Files, 1)
	for n := keep - 1; n > 0; n-- {
		from := l.Path
		if n > 1 {
			from = rotated(l.Path, n-1)
		}
		if err := os.Rename(from, rotated(l.Path, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if keep == 1 {
		if err := os.Remove(l.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return l.open()
}

// reopen goes on in a new file of the same name: somebody has moved the old one.
func (l *logFile) reopen() error {
	if l.Path == "" {
		return nil
	}
	return l.open()
}

func (l *logFile) close() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// discard closes the log of a container that did not start, and removes it
// unless it holds an earlier run's output.
func (l *logFile) discard() {
	empty := l.file != nil && l.offset == 0
	l.close()
	if empty {
		os.Remove(l.Path)
	}
}
