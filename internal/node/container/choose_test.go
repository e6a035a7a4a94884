package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// What runtimes say of themselves.
const (
	oldRunc = `{"hooks":["prestart","poststop"],"mountOptions":["tmpcopyup"],"linux":{"namespaces":["pid"],"seccomp":{"actions":["SCMP_ACT_NOTIFY"]}}}`
	newRunc = `{"hooks":["prestart","poststop"],"linux":{"namespaces":["pid","time"],"netDevices":{"enabled":true},"memoryPolicy":{"modes":["MPOL_BIND"]}}}`
)

// chooser is a runtime over programs that only say what they can do: name to
// features, of which none is an older program.
func chooser(t *testing.T, installed map[string]string) *Runtime {
	t.Helper()
	dir := t.TempDir()
	h := newHandlers(nil)
	h.look = func(name string) (string, error) {
		path := filepath.Join(dir, filepath.Base(name))
		_, err := os.Stat(path)
		return path, err
	}
	for name, features := range installed {
		kind, _, _ := strings.Cut(name, "-")
		script := fmt.Sprintf("#!/bin/sh\ncase $1 in --version) echo %s version 1;; features) test -n '%s' && echo '%s';; esac\n", kind, features, features)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(usual[:], name) {
			h.configured[name] = name
		}
	}
	return &Runtime{handlers: h}
}

func TestChoose(t *testing.T) {
	hook := func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: make([]specs.Hook, 1)} }
	devices := func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"eth1": {}} }
	policy := func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{} }
	for name, tt := range map[string]struct {
		installed map[string]string
		asked     string
		change    func(*specs.Spec)
		want      string // the runtime
		says      string // of the reason or the error
	}{
		"an ordinary container has the native path": {map[string]string{"runc": oldRunc}, "", func(*specs.Spec) {}, "", ""},
		"hooks go to the first that is installed":   {map[string]string{"runc": oldRunc, "crun": ""}, "", hook, "runc", "hooks.poststop"},
		"an old runtime is taken to know hooks":     {map[string]string{"crun": ""}, "", hook, "crun", "hooks.poststop"},
		"not to know what came later":               {map[string]string{"crun": ""}, "", devices, "", "crun: it has no network devices"},
		"one that is asked for is not changed":      {map[string]string{"runc": oldRunc}, "crun", hook, "crun", ""},
		"a newer one is passed to by an older":      {map[string]string{"runc": oldRunc, "crun": newRunc}, "", devices, "crun", "linux.netDevices"},
		"a configured one counts, too":              {map[string]string{"runc": oldRunc, "runc-next": newRunc}, "", policy, "runc-next", "linux.memoryPolicy"},
		"one alone must be able to do all":          {map[string]string{"runc": oldRunc, "crun": newRunc}, "", func(s *specs.Spec) { devices(s); hook(s) }, "crun", "hooks.poststop, linux.netDevices"},
		"without any, it says what to install":      {nil, "", hook, "", "install runc or crun, or name one under engine.runtimes"},
		"where none can, it says why each cannot":   {map[string]string{"runc": oldRunc, "crun": ""}, "", policy, "", "(runc: it has no memory policy; crun: it has no memory policy)"},
		"nobody takes flags of a personality": {map[string]string{"runc": newRunc}, "", func(s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: "LINUX", Flags: []specs.LinuxPersonalityFlag{"X"}}
		}, "", "runc: it has no personality"},
		"an annotation of crun goes to crun":             {map[string]string{"runc": oldRunc, "crun": ""}, "", func(s *specs.Spec) { s.Annotations = map[string]string{"run.oci.handler": "wasm"} }, "crun", "annotations: run.oci.handler"},
		"users of one's own are the native path's alone": {map[string]string{"runc": oldRunc}, "", func(s *specs.Spec) { hook(s); s.Linux.Namespaces = []specs.LinuxNamespace{{Type: "user"}} }, "", "only the native runtime has user namespaces"},
	} {
		t.Run(name, func(t *testing.T) {
			r := chooser(t, tt.installed)
			spec := Spec{Runtime: tt.asked, OCI: &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}}
			tt.change(spec.OCI)
			got, err := r.Choose(t.Context(), spec)
			if tt.want == "" && tt.says != "" {
				if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("Choose = %v, %v; want %v with %q", got, err, fault.Unsupported, tt.says)
				}
				return
			}
			if err != nil || got.Runtime != tt.want || !strings.Contains(got.Reason, tt.says) || tt.says == "" && got.Reason != "" {
				t.Errorf("Choose = %+v, %v; want %q because of %q", got, err, tt.want, tt.says)
			}
		})
	}
}

func TestAReplacedRuntimeIsAskedAgain(t *testing.T) {
	r := chooser(t, map[string]string{"runc": oldRunc})
	spec := Spec{OCI: &specs.Spec{Linux: &specs.Linux{MemoryPolicy: &specs.LinuxMemoryPolicy{}}}}
	if _, err := r.Choose(t.Context(), spec); err == nil {
		t.Fatal("the old one should not do")
	}
	path, _ := r.handlers.look("runc")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+newRunc+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Choose(t.Context(), spec); err != nil || got.Runtime != "runc" {
		t.Errorf("Choose = %+v, %v; want the new runc", got, err)
	}
}
