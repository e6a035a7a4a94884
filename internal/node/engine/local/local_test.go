package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/api/client"
	api "github.com/sampan-cloud/sampan/api/local"
	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/engine/internal/fake"
	"github.com/sampan-cloud/sampan/internal/node/engine/local"
	"github.com/sampan-cloud/sampan/test/need"
)

// socket is a server on fakes, and the command line's own client.
type socket struct {
	*client.Node
	t       *testing.T
	dir     string
	engine  *engine.Engine
	runtime *fake.Runtime
	network *fake.Network
}

func serve(t *testing.T) *socket {
	t.Helper()
	need.Root(t) // a pod's /dev/shm is mounted
	s := &socket{t: t, dir: t.TempDir(), runtime: fake.NewRuntime(), network: fake.NewNetwork()}
	images := fake.NewImages()
	images.Add("web:1", ocispec.ImageConfig{Cmd: []string{"/web"}}, map[string]string{"etc/passwd": "web:x:7:8::/:\n"})
	images.AddRemote("far:1", ocispec.ImageConfig{Cmd: []string{"/far"}}, nil)
	log := slog.New(slog.DiscardHandler)
	var err error
	s.engine, err = engine.Open(engine.Config{Dir: filepath.Join(s.dir, "engine")}, engine.Parts{
		Runtime: s.runtime, Network: s.network, Snapshots: fake.NewSnapshots(t), Images: images,
		Seccomp: func([]string) *specs.LinuxSeccomp { return nil },
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.engine.Run(ctx, func() { close(ready) }) }()
	<-ready
	l, err := net.Listen("unix", client.Socket(s.dir))
	if err != nil {
		t.Fatal(err)
	}
	handler := local.New(local.Config{LogDir: filepath.Join(s.dir, "logs")}, s.engine, nil, log)
	web := &http.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	s.Node = client.OpenNode(s.dir)
	t.Cleanup(func() {
		handler.Close()
		web.Close()
		<-served
		for _, p := range s.engine.Pods(engine.OwnerLocal) {
			if err := s.engine.RemovePod(context.Background(), engine.OwnerLocal, p.ID); err != nil {
				t.Error(err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// run starts a one-off and returns its ID, and what it comes to.
func (s *socket) run(req api.Run, in io.Reader) (id string, ended func() (int, string, error)) {
	s.t.Helper()
	started := make(chan string, 1)
	type end struct {
		code int
		err  error
	}
	done := make(chan end, 1)
	out := &heard{first: make(chan struct{})}
	go func() {
		code, err := s.Session(context.Background(), "/v1/run", req, client.Stdio{
			In: in, Out: out, Err: out, Started: func(id string) { started <- id },
		})
		done <- end{code, err}
	}()
	ended = func() (int, string, error) {
		e := <-done
		return e.code, out.String(), e.err
	}
	select {
	case <-out.first: // it is attached, and so started
		id = <-started
	case <-time.After(5 * time.Second):
		s.t.Fatal("the one-off does not start")
	}
	return id, ended
}

// heard is output whose first part somebody waits for.
type heard struct {
	bytes.Buffer
	first chan struct{}
	once  sync.Once
}

func (h *heard) Write(p []byte) (int, error) {
	defer h.once.Do(func() { close(h.first) })
	return h.Buffer.Write(p)
}

func TestAOneOff(t *testing.T) {
	s := serve(t)
	id, ended := s.run(api.Run{Image: "web:1", Name: "job", Remove: true, Args: []string{"-x"}, CPU: 0.5, Memory: 1 << 20, Publish: []string{"127.0.0.1:80:8080/udp"}}, nil)
	spec := s.runtime.Started[id].OCI
	if got := strings.Join(spec.Process.Args, " "); got != "-x" {
		t.Errorf("args = %q", got)
	}
	if *spec.Linux.Resources.CPU.Quota != 50000 || *spec.Linux.Resources.Memory.Limit != 1<<20 {
		t.Errorf("limits = %+v", spec.Linux.Resources)
	}
	for _, p := range s.network.Pods {
		if len(p.Ports) != 1 || p.Ports[0].HostPort != 80 || p.Ports[0].PodPort != 8080 || p.Ports[0].Protocol != "udp" {
			t.Errorf("ports = %+v", p.Ports)
		}
	}
	var list []api.Container
	if err := s.Call(t.Context(), http.MethodGet, "/v1/containers", nil, &list); err != nil || len(list) != 1 || list[0].Name != "job" || !list[0].OneOff || list[0].Runtime != "native" {
		t.Errorf("containers = %+v, %v", list, err)
	}
	s.runtime.Exit(id, 3, false)
	if code, out, err := ended(); code != 3 || out != "attached\n" || err != nil {
		t.Errorf("run = %d, %q, %v; want 3 and its output", code, out, err)
	}
	for range 400 {
		if len(s.engine.Pods(engine.OwnerLocal)) == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("it is not removed")
}

func TestAOneOffThatStays(t *testing.T) {
	s := serve(t)
	id, ended := s.run(api.Run{Image: "far:1", Name: "job", Network: "none"}, nil)
	if len(s.network.Left()) != 0 {
		t.Error("it has a network")
	}
	if err := s.Call(t.Context(), http.MethodDelete, "/v1/containers/job", nil, nil); fault.Of(err) != fault.Precondition {
		t.Errorf("removal while it runs = %v, want it refused", err)
	}
	if err := s.Call(t.Context(), http.MethodPost, "/v1/containers/job/stop?timeout=1s", nil, nil); err != nil {
		t.Errorf("stop = %v", err)
	}
	if code, _, err := ended(); code != 143 || err != nil {
		t.Errorf("run = %d, %v; want 143", code, err)
	}
	if err := s.Call(t.Context(), http.MethodDelete, "/v1/containers/"+id[:12], nil, nil); err != nil {
		t.Errorf("removal = %v", err)
	}
}

func TestRefusals(t *testing.T) {
	s := serve(t)
	for name, tt := range map[string]struct {
		req  any
		kind fault.Kind
	}{
		"no image":             {api.Run{}, fault.Invalid},
		"an unknown image":     {api.Run{Image: "none"}, fault.NotFound},
		"an unknown network":   {api.Run{Image: "web:1", Network: "x"}, fault.Invalid},
		"a port of no network": {api.Run{Image: "web:1", Network: "none", Publish: []string{"1:2"}}, fault.Invalid},
		"an odd port":          {api.Run{Image: "web:1", Publish: []string{"80"}}, fault.Invalid},
		"an unknown user":      {api.Run{Image: "web:1", User: "who"}, fault.Invalid},
		"memory below zero":    {api.Run{Image: "web:1", Memory: -1}, fault.Invalid},
		"an unknown field":     {map[string]any{"image": "web:1", "fly": true}, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Session(t.Context(), "/v1/run", tt.req, client.Stdio{Out: io.Discard, Err: io.Discard})
			if fault.Of(err) != tt.kind {
				t.Errorf("run = %v, want %q", err, tt.kind)
			}
		})
	}
	if n := len(s.engine.Pods(engine.OwnerLocal)); n != 0 {
		for range 400 {
			if n = len(s.engine.Pods(engine.OwnerLocal)); n == 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if n != 0 {
			t.Errorf("%d pods left", n)
		}
	}
}

func TestAFailedStartIsTold(t *testing.T) {
	s := serve(t)
	s.runtime.FailWith = errors.New("execve /web: permission denied")
	_, err := s.Session(t.Context(), "/v1/run", api.Run{Image: "web:1", Remove: true}, client.Stdio{Out: io.Discard, Err: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "execve /web: permission denied") {
		t.Errorf("run = %v, want why it did not start", err)
	}
	for errno, want := range map[syscall.Errno]int{syscall.ENOENT: 127, syscall.EACCES: 126} {
		s.runtime.FailWith = fmt.Errorf("start: %w", &launch.StepError{Step: "exec", Path: "/web", Errno: errno})
		_, err = s.Session(t.Context(), "/v1/run", api.Run{Image: "web:1", Remove: true}, client.Stdio{Out: io.Discard, Err: io.Discard})
		var failed *client.APIError
		if !errors.As(err, &failed) || failed.ExitCode != want {
			t.Errorf("run of a program with %v = %+v, want exit code %d", errno, failed, want)
		}
	}
}

func TestExec(t *testing.T) {
	s := serve(t)
	id, ended := s.run(api.Run{Image: "web:1", Name: "job", Remove: true}, nil)
	s.runtime.ExecText, s.runtime.ExecCode = "> ", 4
	var out bytes.Buffer
	code, err := s.Session(t.Context(), "/v1/containers/job/exec", api.Exec{Args: []string{"cat"}, User: "web", Stdin: true},
		client.Stdio{In: strings.NewReader("typed"), Out: &out, Err: &out})
	if err != nil || code != 4 || out.String() != "> typed" {
		t.Errorf("exec = %d, %q, %v; want 4 and what was typed", code, out.String(), err)
	}
	if u := s.runtime.Execs[0].User; u.UID != 7 || u.GID != 8 {
		t.Errorf("user = %+v, want 7:8", u)
	}
	_, err = s.Session(t.Context(), "/v1/containers/none/exec", api.Exec{Args: []string{"x"}}, client.Stdio{Out: &out, Err: &out})
	if fault.Of(err) != fault.NotFound {
		t.Errorf("exec in an unknown container = %v", err)
	}
	s.runtime.Exit(id, 0, false)
	if _, _, err := ended(); err != nil {
		t.Error(err)
	}
}

func TestAClientThatHangsUpEndsWhatWouldBeRemoved(t *testing.T) {
	s := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		_, err := s.Session(ctx, "/v1/run", api.Run{Image: "web:1", Remove: true},
			client.Stdio{Out: io.Discard, Err: io.Discard, Started: func(id string) { started <- id }})
		done <- err
	}()
	<-started
	cancel()
	<-done
	for range 400 {
		if len(s.engine.Pods(engine.OwnerLocal)) == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("it goes on")
}

func TestLogs(t *testing.T) {
	s := serve(t)
	id, ended := s.run(api.Run{Image: "web:1", Name: "job"}, nil)
	log := s.runtime.Started[id].Log
	text := "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout P two \n2026-01-01T00:00:01Z stdout F parts\n2026-01-01T00:00:02Z stderr F three\n"
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ query, want string }{
		"all":             {"", "one\ntwo parts\nthree\n"},
		"the last line":   {"?tail=1", "three\n"},
		"none":            {"?tail=0", ""},
		"with timestamps": {"?tail=1&timestamps=true", "2026-01-01T00:00:02Z three\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := s.Stream(t.Context(), http.MethodGet, "/v1/containers/job/logs"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || string(got) != tt.want {
				t.Errorf("logs = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	t.Run("followed to the end", func(t *testing.T) {
		r, err := s.Stream(t.Context(), http.MethodGet, "/v1/containers/job/logs?tail=0&follow=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("2026-01-01T00:00:03Z stdout F late\n"); err != nil {
			t.Fatal(err)
		}
		s.runtime.Exit(id, 0, false)
		if got, err := io.ReadAll(r); err != nil || string(got) != "late\n" {
			t.Errorf("logs = %q, %v; want late", got, err)
		}
	})
	if _, _, err := ended(); err != nil {
		t.Error(err)
	}
}

func TestPullReportsItsEnd(t *testing.T) {
	s := serve(t)
	pull := func(name string) (*api.Image, error) {
		body, err := json.Marshal(api.Name{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return s.Progress(t.Context(), "/v1/images/pull", bytes.NewReader(body), func(api.Progress) {})
	}
	if img, err := pull("far:1"); err != nil || img == nil || img.Names[0] != "far:1" {
		t.Errorf("pull = %+v, %v", img, err)
	}
	if _, err := pull("none"); fault.Of(err) != fault.NotFound {
		t.Errorf("pull of an unknown image = %v", err)
	}
}
