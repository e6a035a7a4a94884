package container_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container"
	"github.com/sampan-cloud/sampan/internal/node/container/containertest"
	"github.com/sampan-cloud/sampan/test/need"
)

// BenchmarkCheckpoint takes checkpoints of a running container that writes a line
// every two milliseconds: still-ms is the longest time without one. It then ends
// the container and restores it: restore-ms is from the start to its first line.
func BenchmarkCheckpoint(b *testing.B) {
	need.CRIU(b)
	for _, megabytes := range []int{1, 100} {
		b.Run(fmt.Sprintf("%dMiB", megabytes), func(b *testing.B) {
			n := containertest.NewNode(b, "", "")
			var still, back []time.Duration
			for b.Loop() {
				b.StopTimer()
				spec := n.Spec("tally", fmt.Sprint(megabytes), "0")
				n.Start(spec)
				n.Until("it counts", func() bool { return len(n.Log(spec.Log)) > 20 })
				dir := b.TempDir()
				b.StartTimer()
				began := time.Now()
				if err := n.Checkpoint(b.Context(), spec, dir, nil); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				n.Until("it goes on", func() bool { return lastLine(b, spec).After(began) })
				still = append(still, longest(linesOf(b, spec)))
				end(b, n, spec, unix.SIGKILL)
				again := n.Spec("restored")
				again.Restore = &container.Restore{Images: filepath.Join(dir, container.CheckpointImages)}
				upper := filepath.Join(again.Root.Base, again.Root.Upper)
				if out, err := exec.Command("tar", "-C", upper, "-xf", filepath.Join(dir, container.CheckpointUpper)).CombinedOutput(); err != nil {
					b.Fatalf("tar: %v\n%s", err, out)
				}
				began = time.Now()
				n.Start(again)
				n.Until("it counts", func() bool { return len(n.Log(again.Log)) > 0 })
				back = append(back, linesOf(b, again)[0].Sub(began))
				end(b, n, again, unix.SIGTERM)
				b.StartTimer()
			}
			b.ReportMetric(median(still), "still-ms")
			b.ReportMetric(median(back), "restore-ms")
		})
	}
}

func end(b *testing.B, n *containertest.Node, spec container.Spec, signal unix.Signal) {
	b.Helper()
	if err := n.Signal(b.Context(), spec.ID, int(signal), false); err != nil {
		b.Fatal(err)
	}
	if st := n.WaitFor(spec.ID); signal == unix.SIGTERM && st.Code != 0 {
		b.Fatalf("%s ended with %d", spec.ID, st.Code)
	}
	if err := n.Delete(b.Context(), spec.ID); err != nil {
		b.Fatal(err)
	}
}

// linesOf are the times of a container's lines.
func linesOf(b *testing.B, spec container.Spec) (times []time.Time) {
	b.Helper()
	text, err := os.ReadFile(spec.Log)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		at, err := time.Parse(time.RFC3339Nano, strings.Fields(line)[0])
		if err != nil {
			b.Fatal(err)
		}
		times = append(times, at)
	}
	return times
}

func lastLine(b *testing.B, spec container.Spec) time.Time {
	all := linesOf(b, spec)
	return all[len(all)-1]
}

func longest(times []time.Time) (gap time.Duration) {
	for i := range times[1:] {
		gap = max(gap, times[i+1].Sub(times[i]))
	}
	return gap
}

func median(all []time.Duration) float64 {
	slices.Sort(all)
	return all[len(all)/2].Seconds() * 1000
}
