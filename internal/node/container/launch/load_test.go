package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// descriptors lists what this process has open, apart from pipes and events of
// the Go runtime.
func descriptors(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	var out []string
	for _, p := range list {
		if to, err := os.Readlink(p); err == nil {
			out = append(out, to)
		}
	}
	slices.Sort(out)
	return out
}

func TestStartsAndFailuresLeaveNothingOpen(t *testing.T) {
	needRoot(t)
	img := image(t)
	src := t.TempDir()
	once := func() {
		bound := dockerSpec("probe", "say hi")
		bind(bound, src, "rbind", "rro")
		bad := dockerSpec("none")
		bind(bad, src, "rbind")
		missing := dockerSpec("probe")
		bind(missing, src, "rbind")
		bind(missing, "/no/such", "rbind")
		tty := dockerSpec("none")
		for _, r := range []Request{{Spec: bound}, {Spec: bad}, {Spec: missing}, {Spec: userSpec("say hi")},
			{Spec: userSpec("say hi"), Terminal: true}, {Spec: tty, Terminal: true}} {
			r.ID, r.Root = "web", overlay(t, img)
			_, _ = try(t, r)
		}
	}
	once()
	before := descriptors(t)
	for range 5 {
		once()
	}
	if after := descriptors(t); len(after) != len(before) {
		t.Errorf("open before %q, after %q", before, after)
	}
	var st unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &st, unix.WEXITED|unix.WALL|unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("waitid = %v, want no child left", err)
	}
}

// A keeper of a thousand containers has more files open than one of them may.
func TestStartWithManyFilesOpen(t *testing.T) {
	needRoot(t)
	var lim unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	if lim.Cur < 2*plainFiles {
		t.Skipf("only %d files may be open", lim.Cur)
	}
	for range plainFiles + 100 {
		f, err := os.Open("/dev/null")
		must(t, err)
		defer f.Close()
	}
	spec := dockerSpec("probe", "fds")
	spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 40, Hard: 50}}
	got := runSpec(t, Request{ID: "web", Spec: spec, Root: overlay(t, image(t))})
	if want := "0 1 2 \n"; got.out != want {
		t.Errorf("open in the container: %q, want %q", got.out, want)
	}
}

// Many at once, while signals interrupt every thread all the time.
func TestParallelStartsUnderSignals(t *testing.T) {
	needRoot(t)
	img := image(t)
	stop := make(chan struct{})
	var storm sync.WaitGroup
	storm.Go(func() {
		// Go's own preemption signal: harmless, but it interrupts system calls.
		for {
			select {
			case <-stop:
				return
			default:
			}
			threads, _ := filepath.Glob("/proc/self/task/*")
			for _, p := range threads {
				var tid int
				_, _ = fmt.Sscan(filepath.Base(p), &tid)
				_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
			}
			time.Sleep(200 * time.Microsecond)
		}
	})
	storm.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.GC()
			}
		}
	})
	roots := make([]Rootfs, 200)
	for i := range roots {
		roots[i] = overlay(t, img)
	}
	var all sync.WaitGroup
	for i, root := range roots {
		all.Go(func() {
			spec := dockerSpec("probe", "say hi", "pid")
			spec.Hostname = fmt.Sprint("web", i)
			if i%10 == 0 {
				spec = userSpec("say hi", "pid")
			}
			got, err := try(t, Request{ID: "web", Spec: spec, Root: root})
			if err != nil || got.out != "hi\n1\n" || got.code != 0 {
				t.Errorf("start %d = %q, code %d, %v", i, got.out, got.code, err)
			}
		})
	}
	all.Wait()
	close(stop)
	storm.Wait()
}

// BenchmarkStart measures Start alone: from the request to the execve of the
// process, with Docker's mounts, an overlay and a filter of 60 comparisons.
func BenchmarkStart(b *testing.B) {
	needRoot(b)
	img := image(b)
	filter := Seccomp{Program: benchFilter()}
	for name, namespaces := range map[string][]specs.LinuxNamespace{
		"own network":    dockerSpec().Linux.Namespaces,
		"host's network": {{Type: "mount"}, {Type: "uts"}, {Type: "pid"}, {Type: "ipc"}, {Type: "cgroup"}},
	} {
		b.Run(name, func(b *testing.B) {
			root := overlay(b, img)
			var took []time.Duration
			for b.Loop() {
				spec := dockerSpec("probe")
				spec.Linux.Namespaces = namespaces
				at := time.Now()
				p, err := Start(Request{ID: "web", Spec: spec, Root: root, Seccomp: filter})
				took = append(took, time.Since(at))
				must(b, err)
				wait(b, p)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*9/10].Microseconds())/1000, "p90-ms")
		})
	}
}

// BenchmarkExec measures Exec alone, up to the execve.
func BenchmarkExec(b *testing.B) {
	needRoot(b)
	c := sleeper(b, dockerSpec("probe", "sleep"), overlay(b, image(b)))
	filter := Seccomp{Program: benchFilter()}
	var took []time.Duration
	for b.Loop() {
		at := time.Now()
		p, err := Exec(ExecRequest{ID: "web", PID: c.PID, PIDFD: c.PIDFD, Spec: dockerSpec("probe").Process, Seccomp: filter})
		took = append(took, time.Since(at))
		must(b, err)
		wait(b, p)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}

func benchFilter() []unix.SockFilter {
	f := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}}
	for n := range uint32(60) {
		f = append(f, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: 1000 + n},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS})
	}
	return append(f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
}
