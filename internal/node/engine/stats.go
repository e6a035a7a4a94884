package engine

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// Usage is what a container uses.
type Usage struct {
	Container Container
	Stats     container.Stats
	Writable  snapshot.Usage
}

// ContainerUsage tells what a container uses; one that does not run uses only
// room on disk.
func (e *Engine) ContainerUsage(ctx context.Context, rec Container) (Usage, error) {
	u := Usage{Container: rec}
	if rec.State == Running {
		st, err := e.parts.Runtime.Stats(ctx, rec.ID)
		if err != nil && fault.Of(err) != fault.NotFound {
			return Usage{}, fmt.Errorf("stats of container %s: %w", rec.ID, err)
		}
		u.Stats = st
	}
	if u.Stats.Time.IsZero() {
		u.Stats.Time = time.Now()
	}
	w, err := e.parts.Snapshots.Usage(ctx, rec.ID)
	if err != nil && fault.Of(err) != fault.NotFound {
		return Usage{}, fmt.Errorf("stats of container %s: %w", rec.ID, err)
	}
	u.Writable = w
	return u, nil
}

// Interface is what went through a network interface.
type Interface struct {
	Name                                    string
	RxBytes, RxErrors, RxPackets, RxDropped uint64
	TxBytes, TxErrors, TxPackets, TxDropped uint64
}

// Interfaces tells what went through a pod's network interfaces, without
// loopback. On the host's network there is none of the pod's own.
func (e *Engine) Interfaces(p *Pod) ([]Interface, error) {
	if p.Namespaces.Net == "" || p.State != PodReady {
		return nil, nil
	}
	var text []byte
	err := inNetNS(p.Namespaces.Net, func() error {
		var err error
		// Of this thread, which has moved, not of the process.
		text, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("network stats of pod %s: %w", p.ID, err)
	}
	return parseNetDev(string(text)), nil
}

// parseNetDev reads /proc/net/dev: two lines of titles, then a line of eight
// received and eight sent numbers for each interface.
func parseNetDev(text string) []Interface {
	var out []Interface
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		name = strings.TrimSpace(name)
		if !ok || len(f) < 16 || name == "lo" {
			continue
		}
		n := func(i int) uint64 {
			v, _ := strconv.ParseUint(f[i], 10, 64) // the kernel wrote it
			return v
		}
		out = append(out, Interface{
			Name: name, RxBytes: n(0), RxPackets: n(1), RxErrors: n(2), RxDropped: n(3),
			TxBytes: n(8), TxPackets: n(9), TxErrors: n(10), TxDropped: n(11),
		})
	}
	return out
}

// inNetNS runs f on a thread that is in the network namespace at path.
func inNetNS(path string, f func() error) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and nothing else
		// runs in the pod's network by mistake.
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("join network namespace %s: %w", path, err)
			return
		}
		done <- f()
	}()
	return <-done
}
