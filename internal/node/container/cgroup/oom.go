package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// OOMKills tells how many processes of the group the kernel has killed because
// a limit of memory was reached.
func (g *Group) OOMKills() (uint64, error) {
	h := g.m.find("memory")
	var kills uint64
	err := readKeys(g.dir(h), g.oomFile(), func(key string, n uint64) {
		if key == "oom_kill" {
			kills = n
		}
	})
	if err != nil {
		return 0, fmt.Errorf("out-of-memory kills in cgroup %s: %w", g.Path(), err)
	}
	return kills, nil
}

func (g *Group) oomFile() string {
	if g.m.version == V2 {
		return "memory.events"
	}
	return "memory.oom_control"
}

// WatchOOM delivers the number of kills when there are any, and again whenever
// it has grown. The channel is closed when ctx ends or the group is removed.
func (g *Group) WatchOOM(ctx context.Context) (<-chan uint64, error) {
	events, err := g.oomEvents()
	if err != nil {
		return nil, fmt.Errorf("watch cgroup %s for lack of memory: %w", g.Path(), err)
	}
	kills := make(chan uint64)
	stop := context.AfterFunc(ctx, func() { events.Close() }) // ends the read below
	go func() {
		defer close(kills)
		defer events.Close()
		defer stop()
		var last uint64
		buf := make([]byte, 4096)
		for {
			now, err := g.killsSince(ctx, last)
			if err != nil {
				return
			}
			if now > last {
				select {
				case kills <- now:
				case <-ctx.Done():
					return
				}
				last = now
			}
			if _, err := events.Read(buf); err != nil {
				return
			}
		}
	}()
	return kills, nil
}

// killsSince reads the number of kills, for a while until it has grown: v1 tells
// of the lack of memory before the kernel has chosen whom to kill.
func (g *Group) killsSince(ctx context.Context, last uint64) (uint64, error) {
	for wait := time.Millisecond; ; wait *= 2 {
		now, err := g.OOMKills()
		if err != nil || now > last || wait > 200*time.Millisecond {
			return now, err
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// oomEvents opens a file that can be read when the number of kills may have
// grown, or the group is gone.
func (g *Group) oomEvents() (*os.File, error) {
	dir := g.dir(g.m.find("memory"))
	if g.m.version == V2 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return nil, err
		}
		if _, err := unix.InotifyAddWatch(fd, filepath.Join(dir, g.oomFile()), unix.IN_MODIFY|unix.IN_DELETE_SELF); err != nil {
			unix.Close(fd)
			return nil, err
		}
		return os.NewFile(uintptr(fd), "inotify"), nil
	}
	control, err := openFile(filepath.Join(dir, g.oomFile()), unix.O_RDONLY)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fault.NotFound
		}
		return nil, err
	}
	defer control.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if err := writeFile(dir, "cgroup.event_control", fmt.Sprint(fd, " ", control.Fd())); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "eventfd"), nil
}
