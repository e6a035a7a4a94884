package chaos

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A job is one container and what it must come to.
type job struct {
	name  string
	lines int
	code  int
	pause time.Duration

	pod, id string
}

// newJob makes a container that lives for some seconds.
func newJob(i int) *job {
	return &job{name: fmt.Sprintf("job%d", i), lines: 200 + rand.IntN(400), code: i % 200, pause: time.Duration(2+rand.IntN(6)) * time.Millisecond}
}

// start makes the job run, as a kubelet does it: whatever fails because nobody
// answers is asked again, a pod that may or may not be there as a new attempt.
func (j *job) start(ctx context.Context, n *node) error {
	for attempt := uint32(0); ; attempt++ {
		err := j.try(ctx, n, attempt)
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		if j.pod != "" {
			if err := patiently(ctx, func() error { return j.remove(ctx, n) }); err != nil {
				return err
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (j *job) try(ctx context.Context, n *node, attempt uint32) error {
	j.pod, j.id = "", ""
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	seccomp := &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	pod := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: j.name, Namespace: "chaos", Uid: j.name, Attempt: attempt},
		Hostname: j.name, LogDirectory: filepath.Join(n.logs(), j.name),
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{Seccomp: seccomp}},
	}
	sandbox, err := n.cri.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: pod})
	if err != nil {
		return err
	}
	j.pod = sandbox.PodSandboxId
	made, err := n.cri.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: j.pod, SandboxConfig: pod,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "say", Attempt: attempt}, Image: &runtimeapi.ImageSpec{Image: imageName},
			Args: []string{fmt.Sprint(j.lines), fmt.Sprint(j.code), j.pause.String()}, LogPath: fmt.Sprintf("%d.log", attempt),
			Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{Seccomp: seccomp}},
		},
	})
	if err != nil {
		return err
	}
	_, err = n.cri.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: made.ContainerId})
	if err == nil {
		j.id = made.ContainerId
	}
	return err
}

// ended waits for the job's end and checks what came of it.
func (j *job) ended(ctx context.Context, n *node) error {
	var st *runtimeapi.ContainerStatus
	err := patiently(ctx, func() error {
		got, err := n.cri.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: j.id})
		if err == nil && got.Status.State != runtimeapi.ContainerState_CONTAINER_EXITED {
			time.Sleep(50 * time.Millisecond)
			return status.Errorf(codes.Unavailable, "%s", got.Status.State)
		}
		st = got.GetStatus()
		return err
	})
	if err != nil {
		return err
	}
	if int(st.ExitCode) != j.code {
		return fmt.Errorf("exit code %d (%s, %s), want %d", st.ExitCode, st.Reason, st.Message, j.code)
	}
	return checkLog(st.LogPath, j.lines)
}

// checkLog wants each of the lines once; the two streams are in order.
func checkLog(path string, lines int) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	next := map[string]int{"stdout": 0, "stderr": 1}
	count := 0
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(f) != 4 || f[2] != "F" {
			return fmt.Errorf("%s: %q is no whole line", path, line)
		}
		if want := fmt.Sprintf("line %d", next[f[1]]); f[3] != want {
			return fmt.Errorf("%s: %q, want %q of %s", path, f[3], want, f[1])
		}
		next[f[1]] += 2
		count++
	}
	if count != lines {
		return fmt.Errorf("%s: %d lines, want %d", path, count, lines)
	}
	return nil
}

func (j *job) remove(ctx context.Context, n *node) error {
	if _, err := n.cri.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: j.pod}); err != nil && status.Code(err) != codes.NotFound {
		return err
	}
	_, err := n.cri.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: j.pod})
	return err
}

// pods are all there are: also those whose maker was never told.
func (n *node) pods(ctx context.Context) (all []*job) {
	n.t.Helper()
	list, err := n.cri.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	must(n.t, err)
	for _, p := range list.Items {
		all = append(all, &job{name: p.Metadata.Name, pod: p.Id})
	}
	return all
}

// passing tells whether an error says only that the daemon or the keeper was
// away.
func passing(err error) bool { return status.Code(err) == codes.Unavailable }

// patiently repeats what fails because nobody answers.
func patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// each does something for all jobs, some at a time.
func each(t *testing.T, jobs []*job, width int, what string, do func(*job) error) {
	var all sync.WaitGroup
	next := make(chan *job)
	for range width {
		all.Go(func() {
			for j := range next {
				if err := do(j); err != nil {
					t.Errorf("%s %s: %v", what, j.name, err)
				}
			}
		})
	}
	for _, j := range jobs {
		next <- j
	}
	close(next)
	all.Wait()
}

// warnings are the daemon's own words on what went wrong.
func (n *node) warnings() string {
	text, err := os.ReadFile(n.errors())
	must(n.t, err)
	var b bytes.Buffer
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			b.WriteString(line)
		}
	}
	return b.String()
}
