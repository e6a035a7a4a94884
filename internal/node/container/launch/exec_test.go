package launch

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// sleeper starts a container that stays until the test ends.
func sleeper(t testing.TB, spec *specs.Spec, root Rootfs) *Process {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	p, err := Start(Request{ID: "web", Spec: spec, Root: root, Stdin: r})
	must(t, r.Close())
	must(t, err)
	t.Cleanup(func() {
		must(t, unix.PidfdSendSignal(int(p.PIDFD.Fd()), unix.SIGKILL, nil, 0))
		must(t, w.Close())
		wait(t, p)
	})
	return p
}

func execOut(t *testing.T, req ExecRequest) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	if !req.Terminal {
		req.Stdout = w
	}
	p, err := Exec(req)
	_ = w.Close()
	if err != nil {
		return "", err
	}
	from := io.Reader(r)
	if p.Master != nil {
		defer p.Master.Close()
		from = p.Master
	}
	var out bytes.Buffer
	_, _ = io.Copy(&out, from) // a terminal ends with EIO
	wait(t, p)
	return out.String(), nil
}

func TestExec(t *testing.T) {
	needRoot(t)
	root := overlay(t, image(t))
	spec, adj := dockerSpec("probe", "sleep"), 345
	spec.Process.OOMScoreAdj = &adj
	c := sleeper(t, spec, root)
	must(t, os.WriteFile(filepath.Join(root.Base, "upper/mark"), nil, 0o600))
	for name, tt := range map[string]struct {
		ask      []string
		spec     func(p *specs.Process)
		terminal bool
		want     string
	}{
		"joins the container's namespaces":          {[]string{"hostname", "stat /proc/1"}, nil, false, `^web\n/proc/1 40555`},
		"is in the container's PID namespace":       {[]string{"grep NSpid /proc/self/status"}, nil, false, `^NSpid:\t\d+\n$`},
		"sees the container's root":                 {[]string{"pwd", "stat /etc/passwd"}, nil, false, `^/\n/etc/passwd 100644`},
		"can be killed as the container can":        {[]string{"cat /proc/self/oom_score_adj"}, nil, false, `^345\n$`},
		"has what capabilities it was given":        {[]string{"grep CapEff /proc/self/status"}, nil, false, `00000000a80425fb`},
		"is the user it was told to be":             {[]string{"id", "env HOME"}, func(p *specs.Process) { p.User.UID = 1000 }, false, `^1000 0 \[\]\n/home/app\n$`},
		"has a terminal of the container":           {[]string{"stat /dev/pts/0", "write /dev/tty"}, nil, true, `/dev/pts/0 20620 0:5 rdev 136:0\r\nwritten\r\n`},
		"has nothing open but its input and output": {[]string{"fds"}, nil, false, `^0 1 2 \n$`},
		"starts in its working directory":           {[]string{"pwd"}, func(p *specs.Process) { p.Cwd = "/home/app" }, false, `^/home/app\n$`},
	} {
		t.Run(name, func(t *testing.T) {
			p := dockerSpec(append([]string{"probe"}, tt.ask...)...).Process
			if tt.spec != nil {
				tt.spec(p)
			}
			got, err := execOut(t, ExecRequest{ID: "web", PID: c.PID, PIDFD: c.PIDFD, Spec: p, Terminal: tt.terminal})
			if err != nil || !regexp.MustCompile(tt.want).MatchString(got) {
				t.Errorf("Exec %q = %q, %v; want %s", tt.ask, got, err, tt.want)
			}
		})
	}
	t.Run("cannot reach the host through a link as its working directory", func(t *testing.T) {
		host, err := os.Open("/etc")
		must(t, err)
		defer host.Close()
		p := dockerSpec("probe", "pwd").Process
		p.Cwd = "/proc/self/fd/" + itoa(host.Fd())
		got, err := execOut(t, ExecRequest{ID: "web", PID: c.PID, PIDFD: c.PIDFD, Spec: p})
		if want := "exec in web: chdir " + p.Cwd + ": no such file or directory"; err == nil || err.Error() != want {
			t.Errorf("Exec = %q, %v; want %s", got, err, want)
		}
	})
	t.Run("names a program that is missing", func(t *testing.T) {
		_, err := execOut(t, ExecRequest{ID: "web", PID: c.PID, PIDFD: c.PIDFD, Spec: dockerSpec("bash").Process})
		if want := `exec in web: exec: "bash": executable file not found in $PATH`; err == nil || err.Error() != want {
			t.Errorf("Exec = %v, want %s", err, want)
		}
	})
}

func TestExecInEndedContainer(t *testing.T) {
	needRoot(t)
	p, err := Start(Request{ID: "web", Spec: dockerSpec("probe"), Root: overlay(t, image(t))})
	must(t, err)
	fd, err := unix.FcntlInt(p.PIDFD.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	wait(t, p)
	if _, err := Exec(ExecRequest{ID: "web", PID: p.PID, PIDFD: pidfd, Spec: dockerSpec("probe").Process}); err == nil {
		t.Error("Exec in an ended container succeeded")
	}
}

// userSpec maps the container's identities to 100000 and up.
func userSpec(ask ...string) *specs.Spec {
	s := dockerSpec(append([]string{"probe"}, ask...)...)
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	s.Linux.UIDMappings, s.Linux.GIDMappings = ids, ids
	return s
}

func TestUserNamespace(t *testing.T) {
	needRoot(t)
	img := image(t)
	src := t.TempDir()
	must(t, os.WriteFile(filepath.Join(src, "file"), []byte("of the host\n"), 0o600))
	for name, tt := range map[string]struct {
		ask  []string
		spec func(s *specs.Spec)
		want string
	}{
		"its root is nobody on the host":         {[]string{"id", "cat /proc/self/uid_map"}, nil, `^0 0 \[\]\n +0 +100000 +65536\n$`},
		"it is the first process":                {[]string{"pid", "hostname"}, nil, `^1\nweb\n$`},
		"it owns the image":                      {[]string{"stat /etc/passwd", "write /etc/passwd", "stat /"}, nil, `^/etc/passwd 100644 0:0 .*\n/ 40755 0:0`},
		"it can use devices":                     {[]string{"write /dev/null", "say ok"}, nil, `^ok\n$`},
		"it has its own sysctls":                 {[]string{"cat /proc/sys/kernel/shm_rmid_forced"}, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.shm_rmid_forced": "1"} }, `^1\n$`},
		"another user can be had":                {[]string{"id", "append /dev/stdout"}, func(s *specs.Spec) { s.Process.User.UID = 1000 }, `^1000 0 \[\]\nappended\n$`},
		"it does not own what is bound":          {[]string{"stat /data/file", "cat /data/file"}, func(s *specs.Spec) { bind(s, src, "bind") }, `/data/file 100600 65534:65534 .*\ncat /data/file: error: .* permission denied`},
		"it owns what is bound through its maps": {[]string{"stat /data/file", "cat /data/file"}, func(s *specs.Spec) { bind(s, src, "bind", "idmap") }, `/data/file 100600 0:0 .*\nof the host\n`},
		"it shows /sys of the host's network": {[]string{"ls /sys/class/net"}, func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces[:1:1], s.Linux.Namespaces[2:]...)
		}, `lo `},
		"it can be killed first": {[]string{"cat /proc/self/oom_score_adj"}, func(s *specs.Spec) { n := 321; s.Process.OOMScoreAdj = &n }, `^321\n$`},
	} {
		t.Run(name, func(t *testing.T) {
			spec := userSpec(tt.ask...)
			if tt.spec != nil {
				tt.spec(spec)
			}
			got := runSpec(t, Request{ID: "web", Spec: spec, Root: overlay(t, img)})
			if !regexp.MustCompile(tt.want).MatchString(got.out) {
				t.Errorf("probe %q = %q, want %s", tt.ask, got.out, tt.want)
			}
		})
	}
	t.Run("a terminal belongs to its user", func(t *testing.T) {
		got := runSpec(t, Request{ID: "web", Spec: userSpec("stat /dev/pts/0", "write /dev/tty"), Root: overlay(t, img), Terminal: true})
		if !strings.Contains(got.out, "/dev/pts/0 20620 0:5") || !strings.Contains(got.out, "written") {
			t.Errorf("terminal shows %q", got.out)
		}
	})
	t.Run("others join it by its path, and further processes too", func(t *testing.T) {
		first := sleeper(t, userSpec("sleep"), overlay(t, img))
		spec := userSpec("id", "pid", "stat /etc/passwd")
		spec.Linux.Namespaces[len(spec.Linux.Namespaces)-1].Path = "/proc/" + itoa(uintptr(first.PID)) + "/ns/user"
		got := runSpec(t, Request{ID: "db", Spec: spec, Root: overlay(t, img)})
		if want := "0 0 []\n1\n/etc/passwd 100644 0:0 rdev 0:0\n"; got.out != want {
			t.Errorf("joined: %q, want %q", got.out, want)
		}
		out, err := execOut(t, ExecRequest{ID: "web", PID: first.PID, PIDFD: first.PIDFD, Spec: dockerSpec("probe", "id", "stat /dev/pts/0").Process, Terminal: true})
		if err != nil || !strings.HasPrefix(out, "0 0 []\r\n/dev/pts/0 20620 0:5") {
			t.Errorf("Exec = %q, %v; want its root on a terminal", out, err)
		}
	})
}

func bind(s *specs.Spec, src string, options ...string) {
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Source: src, Options: options})
}

// The containers of a pod may share a PID namespace.
func TestJoinPIDNamespace(t *testing.T) {
	needRoot(t)
	img := image(t)
	first := sleeper(t, dockerSpec("probe", "sleep"), overlay(t, img))
	spec := dockerSpec("probe", "pid", "grep Name /proc/1/status", "hostname")
	for i := range spec.Linux.Namespaces {
		switch n := &spec.Linux.Namespaces[i]; n.Type {
		case specs.PIDNamespace:
			n.Path = "/proc/" + itoa(uintptr(first.PID)) + "/ns/pid"
		case specs.UTSNamespace:
			n.Path = "/proc/" + itoa(uintptr(first.PID)) + "/ns/uts"
		}
	}
	spec.Hostname = "other"
	got := runSpec(t, Request{ID: "db", Spec: spec, Root: overlay(t, img)})
	if !regexp.MustCompile(`^[2-9]\d*\nName:\tprobe\nweb\n$`).MatchString(got.out) {
		t.Errorf("output = %q, want a later process beside the first, named web", got.out)
	}
}
