package launch

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestStartedProcess(t *testing.T) {
	needRoot(t)
	img := image(t)
	umask, adj := uint32(0o027), 500
	host, err := os.Hostname()
	must(t, err)
	for name, tt := range map[string]struct {
		ask  []string
		spec func(s *specs.Spec)
		want string // a regular expression for all of the output
	}{
		"is the first of its PID namespace":             {[]string{"pid"}, nil, `^1\n$`},
		"has the host name of the specification":        {[]string{"hostname"}, nil, `^web\n$`},
		"has nothing open but its input and output":     {[]string{"fds"}, nil, `^0 1 2 \n$`},
		"finds its home in the image's passwd":          {[]string{"env HOME"}, nil, `^/root\n$`},
		"has exactly Docker's capabilities":             {[]string{"grep Cap /proc/self/status"}, nil, `CapInh:\t0+\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0+\n`},
		"cannot gain privileges when told so":           {[]string{"grep NoNewPrivs /proc/self/status"}, nil, `\t1\n`},
		"has no signal blocked or ignored":              {[]string{"grep SigBlk /proc/self/status", "grep SigIgn /proc/self/status"}, nil, `SigBlk:\t0+\nSigIgn:\t0+\n`},
		"reaches itself over loopback":                  {[]string{"lo"}, nil, `^$`},
		"cannot read a masked file":                     {[]string{"cat /proc/timer_list", "cat /proc/keys"}, nil, `^$`},
		"cannot list a masked directory":                {[]string{"ls /sys/firmware"}, nil, `^\n$`},
		"cannot write a read-only path":                 {[]string{"write /proc/sys/kernel/domainname"}, nil, `read-only file system`},
		"finds the usual devices":                       {[]string{"stat /dev/null", "stat /dev/tty", "stat /dev/full"}, nil, `/dev/null 20666 0:0 rdev 1:3\n/dev/tty 20666 0:0 rdev 5:0\n/dev/full 20666 0:0 rdev 1:7\n`},
		"runs without no_new_privs when not told so":    {[]string{"grep NoNewPrivs /proc/self/status"}, func(s *specs.Spec) { s.Process.NoNewPrivileges = false }, `\t0\n`},
		"does not rename the host whose name it shares": {[]string{"hostname"}, func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:2] }, `^` + host + `\n$`},
		"starts in its working directory":               {[]string{"pwd"}, func(s *specs.Spec) { s.Process.Cwd = "/home/app" }, `^/home/app\n$`},
		"gets a working directory that was missing":     {[]string{"pwd", "stat /srv/a/b"}, func(s *specs.Spec) { s.Process.Cwd = "/srv/a/b" }, `^/srv/a/b\n/srv/a/b 40755 0:0 `},
		"has the umask of the specification":            {[]string{"write /tmp/x", "stat /tmp/x"}, func(s *specs.Spec) { s.Process.User.Umask = &umask }, `/tmp/x 100640 `},
		"can be killed first when memory runs out":      {[]string{"cat /proc/self/oom_score_adj"}, func(s *specs.Spec) { s.Process.OOMScoreAdj = &adj }, `^500\n$`},
		"keeps a read-only root":                        {[]string{"write /tmp/x"}, func(s *specs.Spec) { s.Root.Readonly = true }, `read-only file system`},
		"sees masked paths when nothing masks them":     {[]string{"ls /proc/scsi", "stat /proc/timer_list"}, func(s *specs.Spec) { s.Linux.MaskedPaths = nil }, `/proc/timer_list 100400 `},
		"prefers the environment's HOME":                {[]string{"env HOME"}, func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "HOME=/x") }, `^/x\n$`},
		"has the sysctls of its network":                {[]string{"cat /proc/sys/net/ipv4/ip_unprivileged_port_start"}, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "77"} }, `^77\n$`},
		"has the sysctls of its IPC":                    {[]string{"cat /proc/sys/kernel/shm_rmid_forced"}, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.shm_rmid_forced": "1"} }, `^1\n$`},
		"finds a device that was asked for": {[]string{"stat /dev/net/tun"}, func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/net/tun", Type: "c", Major: 10, Minor: 200}}
		}, `/dev/net/tun 20666 0:0 rdev 10:200\n`},
		"is found along PATH past what cannot be run": {nil, func(s *specs.Spec) {
			s.Process.Env = []string{"PATH=/none:/etc:/bin"}
			s.Process.Args = []string{"probe", "say hi"}
		}, `^hi\n$`},
		"can have a soft limit below the hard one": {[]string{"grep processes /proc/self/limits"}, func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NPROC", Soft: 70, Hard: 90}}
		}, `Max processes +70 +90 `},
		"has the clock of its time namespace": {[]string{"cat /proc/uptime"}, func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000000000}}
		}, `^10\d{8}\.`},
		"is the user and groups of the specification": {[]string{"id", "env HOME", "grep CapEff /proc/self/status"}, func(s *specs.Spec) {
			s.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5, 7}}
			s.Process.Capabilities.Effective = nil
			s.Process.Capabilities.Permitted = nil
		}, `^1000 1001 \[5 7\]\n/home/app\nCapEff:\t0+\n$`},
		"keeps ambient capabilities as another user": {[]string{"grep Cap /proc/self/status"}, func(s *specs.Spec) {
			s.Process.User.UID = 1000
			c := []string{"CAP_NET_BIND_SERVICE"}
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: c, Effective: c, Permitted: c, Inheritable: c, Ambient: c}
		}, `CapInh:\t0+400\nCapPrm:\t0+400\nCapEff:\t0+400\nCapBnd:\t0+400\nCapAmb:\t0+400\n`},
		"can reopen its output as another user": {[]string{"append /dev/stdout"}, func(s *specs.Spec) { s.Process.User.UID = 1000 }, `^appended\n$`},
		"has all capabilities there are when privileged": {[]string{"mount /tmp", "say mounted"}, func(s *specs.Spec) {
			c := &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities}
			s.Process.Capabilities, s.Process.NoNewPrivileges = c, false
		}, `^mounted\n$`},
		"sees the host's processes in its PID namespace": {[]string{"stat /proc/2", "pid"}, func(s *specs.Spec) {
			s.Linux.Namespaces = []specs.LinuxNamespace{{Type: "mount"}}
			s.Hostname = ""
		}, `^/proc/2 `},
	} {
		t.Run(name, func(t *testing.T) {
			spec := dockerSpec(append([]string{"probe"}, tt.ask...)...)
			if tt.spec != nil {
				tt.spec(spec)
			}
			got := runSpec(t, Request{ID: "web", Spec: spec, Root: overlay(t, img)})
			if !regexp.MustCompile(tt.want).MatchString(got.out) || got.code != 0 {
				t.Errorf("probe %q = %q, code %d; want %s", tt.ask, got.out, got.code, tt.want)
			}
		})
	}
}

func TestStandardInput(t *testing.T) {
	needRoot(t)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	_, err = w.WriteString("hello\n")
	must(t, err)
	must(t, w.Close())
	got := runSpec(t, Request{ID: "web", Spec: dockerSpec("probe", "echo"), Root: overlay(t, image(t)), Stdin: r})
	if want := "heard hello\n"; got.out != want {
		t.Errorf("output = %q, want %q", got.out, want)
	}
}

func TestTerminal(t *testing.T) {
	needRoot(t)
	spec := dockerSpec("probe", "stat /dev/console", "stat /dev/pts/0", "write /dev/tty", "echo")
	spec.Process.ConsoleSize = &specs.Box{Height: 30, Width: 100}
	p, err := Start(Request{ID: "web", Spec: spec, Root: overlay(t, image(t)), Terminal: true})
	must(t, err)
	_, err = p.Master.WriteString("typed\n")
	must(t, err)
	size, err := unix.IoctlGetWinsize(int(p.Master.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row != 30 || size.Col != 100 {
		t.Errorf("size = %v, %v; want 30 by 100", size, err)
	}
	out, _ := io.ReadAll(p.Master)
	must(t, p.Master.Close())
	wait(t, p)
	for _, want := range []string{"/dev/console 20620 0:5 rdev 136:0", "/dev/pts/0 20620 0:5 rdev 136:0", "written", "heard typed"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("terminal shows %q, want it to contain %q", out, want)
		}
	}
}

func TestWritableLayerKeepsWhatIsWritten(t *testing.T) {
	needRoot(t)
	root := overlay(t, image(t))
	runSpec(t, Request{ID: "web", Spec: dockerSpec("probe", "write /tmp/kept"), Root: root})
	if b, err := os.ReadFile(filepath.Join(root.Base, "upper/tmp/kept")); err != nil || string(b) != "written\n" {
		t.Errorf("upper/tmp/kept = %q, %v; want what the container wrote", b, err)
	}
}

func TestManyLayers(t *testing.T) {
	needRoot(t)
	img := image(t)
	base := t.TempDir()
	r := Rootfs{Base: base, Upper: "upper", Work: "work"}
	for i := range 120 {
		name := fmt.Sprintf("layer-%03d-with-a-name-as-long-as-a-digest-has-0123456789abcdef", i)
		must(t, os.MkdirAll(filepath.Join(base, name, fmt.Sprint(i)), 0o755))
		r.Lower = append(r.Lower, name)
	}
	r.Lower = append(r.Lower, img)
	must(t, os.Mkdir(filepath.Join(base, "upper"), 0o755))
	must(t, os.Mkdir(filepath.Join(base, "work"), 0o755))
	got := runSpec(t, Request{ID: "web", Spec: dockerSpec("probe", "stat /0", "stat /119"), Root: r})
	if !strings.Contains(got.out, "/0 40755") || !strings.Contains(got.out, "/119 40755") {
		t.Errorf("layers show %q, want the first and the last", got.out)
	}
}

// Before Linux 6.8 the layers are one option, mounted in the old way.
func TestOverlayByMount(t *testing.T) {
	needRoot(t)
	root := overlay(t, image(t))
	fd, err := root.overlayByMount()
	must(t, err)
	defer unix.Close(fd)
	if _, err := unix.Openat(fd, "bin/probe", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		t.Errorf("open bin/probe in the overlay: %v", err)
	}
}

func TestDirectoryAsRoot(t *testing.T) {
	needRoot(t)
	img := image(t)
	got := runSpec(t, Request{ID: "web", Spec: dockerSpec("probe", "write /tmp/x", "ls /tmp"), Root: Rootfs{Base: img}})
	if got.out != "x \n" {
		t.Errorf("output = %q, want the file written", got.out)
	}
	if b, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(b), img) {
		t.Errorf("the host has a mount of %s left (%v)", img, err)
	}
}

func TestSeccompFilterIsInstalled(t *testing.T) {
	needRoot(t)
	// mkdirat and mkdir answer EPERM: load the number, compare, answer.
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_MKDIRAT},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	for name, nnp := range map[string]bool{"with no_new_privs": true, "without no_new_privs": false} {
		t.Run(name, func(t *testing.T) {
			spec := dockerSpec("probe", "mkdir /tmp/x", "grep Seccomp /proc/self/status")
			spec.Process.NoNewPrivileges = nnp
			got := runSpec(t, Request{ID: "web", Spec: spec, Root: overlay(t, image(t)), Seccomp: Seccomp{Program: filter}})
			if !strings.Contains(got.out, "operation not permitted") || !strings.Contains(got.out, "Seccomp:\t2") {
				t.Errorf("output = %q, want mkdir refused in filter mode", got.out)
			}
		})
	}
}
