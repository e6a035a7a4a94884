package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func itoa(fd uintptr) string { return strconv.Itoa(int(fd)) }

func show(v any) string { return fmt.Sprintf("%+v", v) }

func TestFailedStartNamesItsStep(t *testing.T) {
	needRoot(t)
	img := image(t)
	for name, tt := range map[string]struct {
		spec  func(s *specs.Spec)
		text  string
		code  int
		errno unix.Errno
	}{
		"no such program in PATH": {func(s *specs.Spec) { s.Process.Args = []string{"nginx"} },
			`start web: exec: "nginx": executable file not found in $PATH`, 127, unix.ENOENT},
		"no such program": {func(s *specs.Spec) { s.Process.Args = []string{"/bin/nginx"} },
			`start web: exec: "/bin/nginx": no such file or directory`, 127, unix.ENOENT},
		"a program that may not be executed": {func(s *specs.Spec) { s.Process.Args = []string{"data"} },
			`start web: exec: "data": permission denied`, 126, unix.EACCES},
		"a directory as the program": {func(s *specs.Spec) { s.Process.Args = []string{"/tmp"} },
			`start web: exec: "/tmp": permission denied`, 126, unix.EACCES},
		"a program of no known format": {func(s *specs.Spec) { s.Process.Args = []string{"text"} },
			`start web: exec: "text": exec format error`, 126, unix.ENOEXEC},
		"a bind source that is missing": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Source: "/no/such", Options: []string{"bind"}})
		}, `start web: bind /no/such: no such file or directory`, 128, unix.ENOENT},
		"a filesystem option of no meaning": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Type: "tmpfs", Options: []string{"siez=1"}})
		}, `start web: mount /data: invalid argument`, 128, unix.EINVAL},
		"a working directory that is a file": {func(s *specs.Spec) { s.Process.Cwd = "/etc/passwd" },
			`start web: chdir /etc/passwd: not a directory`, 128, unix.ENOTDIR},
		"a working directory nobody may enter": {func(s *specs.Spec) {
			s.Process.Cwd, s.Process.User.UID = "/proc/1/fdinfo/x", 1000
		}, `start web: mkdir /proc/1/fdinfo/x: no such file or directory`, 128, unix.ENOENT},
		"a mount over a link at /proc": {func(s *specs.Spec) { s.Mounts[0].Destination = "/plink" },
			`start web: open mount point /plink: too many levels of symbolic links`, 128, unix.ELOOP},
		"a mount point behind a magic link": {func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/magic/x", Source: "/etc", Options: []string{"bind"}})
		}, `start web: open mount point /magic/x: too many levels of symbolic links`, 128, unix.ELOOP},
		"a working directory behind a magic link": {func(s *specs.Spec) { s.Process.Cwd = "/magic" },
			`start web: open mount point /magic: too many levels of symbolic links`, 128, unix.ELOOP},
		"devices behind a magic link": {func(s *specs.Spec) {
			s.Mounts = s.Mounts[:1]
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/magic/sda", Type: "b", Major: 8}}
		}, `start web: open mount point /magic: too many levels of symbolic links`, 128, unix.ELOOP},
		"a user namespace without mappings": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"})
		}, `start web: user namespace without uid and gid mappings: invalid`, 0, 0},
		"a sysctl of the host": {func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"vm.swappiness": "1"} },
			`start web: sysctl vm.swappiness does not belong to a namespace: invalid`, 0, 0},
		"a sysctl that is missing": {func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.no_such": "1"} },
			`start web: write /proc/sys/net/ipv4/no_such: no such file or directory`, 128, unix.ENOENT},
		"a namespace that is gone": {func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "/no/ns" },
			`start web: join namespace /no/ns: no such file or directory`, 128, unix.ENOENT},
		"a namespace of another kind": {func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "/proc/self/ns/uts" },
			`start web: join namespace /proc/self/ns/uts: invalid argument`, 128, unix.EINVAL},
		"hooks, which are not supported": {func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: make([]specs.Hook, 1)} },
			`start web: hooks.poststop: not supported by the native runtime`, 0, 0},
		"a scheduling policy of no meaning": {func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "SCHED_FAST"} },
			`start web: process.scheduler.policy "SCHED_FAST": invalid`, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			root := overlay(t, img)
			must(t, os.Symlink("tmp", filepath.Join(root.Base, "upper/plink")))
			must(t, os.Symlink("/proc/self/fd/1", filepath.Join(root.Base, "upper/magic")))
			spec := dockerSpec("probe")
			tt.spec(spec)
			_, err := try(t, Request{ID: "web", Spec: spec, Root: root})
			if err == nil || err.Error() != tt.text {
				t.Fatalf("Start = %v, want %s", err, tt.text)
			}
			var step *StepError
			if errors.As(err, &step) != (tt.errno != 0) {
				t.Fatalf("%v is a StepError: %v", err, step != nil)
			}
			if step != nil && (step.ExitCode() != tt.code || step.Errno != tt.errno) {
				t.Errorf("exit code %d, errno %v; want %d, %v", step.ExitCode(), step.Errno, tt.code, tt.errno)
			}
		})
	}
}

func TestMissingLayer(t *testing.T) {
	needRoot(t)
	root := overlay(t, "/no/layer")
	_, err := try(t, Request{ID: "web", Spec: dockerSpec("probe"), Root: root})
	if err == nil || !strings.Contains(err.Error(), "/no/layer") || fault.Of(err) != fault.NotFound {
		t.Errorf("Start = %v (%s), want the layer named as not found", err, fault.Of(err))
	}
}
