package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// built returns what the runtime is asked to start for a configuration.
func (w *world) built(t *testing.T, pod engine.Pod, cfg engine.ContainerConfig) *specs.Spec {
	t.Helper()
	cfg.Name = t.Name()
	if cfg.Image == "" {
		cfg.Image = "web:1"
	}
	c, err := w.CreateContainer(t.Context(), "cri", pod.ID, cfg)
	if err != nil {
		t.Fatalf("CreateContainer: %v", err)
	}
	if err := w.StartContainer(t.Context(), "cri", c.ID); err != nil {
		t.Fatalf("StartContainer: %v", err)
	}
	return w.runtime.Started[c.ID].OCI
}

func number(n int64) *int64 { return &n }

func TestWhatRuns(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	for name, tt := range map[string]struct {
		cfg  engine.ContainerConfig
		want []string
	}{
		"the image decides":                     {engine.ContainerConfig{}, []string{"/web", "-v"}},
		"arguments replace the image's":         {engine.ContainerConfig{Args: []string{"-q"}}, []string{"/web", "-q"}},
		"a command drops the image's arguments": {engine.ContainerConfig{Command: []string{"/sh"}}, []string{"/sh"}},
		"a command and arguments replace all":   {engine.ContainerConfig{Command: []string{"/sh"}, Args: []string{"-c"}}, []string{"/sh", "-c"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := w.built(t, pod, tt.cfg).Process.Args; !slices.Equal(got, tt.want) {
				t.Errorf("args = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheEnvironment(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	p := w.built(t, w.pod("a"), engine.ContainerConfig{Env: []string{"LANG=de", "NEW=1"}, TTY: true}).Process
	want := []string{"PATH=/bin", "HOSTNAME=a", "TERM=xterm", "LANG=de", "NEW=1", "HOME=/root"}
	if !slices.Equal(p.Env, want) {
		t.Errorf("env = %q, want %q", p.Env, want)
	}
	if p.Cwd != "/srv" || !p.Terminal {
		t.Errorf("cwd %q, terminal %t; want /srv with one", p.Cwd, p.Terminal)
	}
}

func TestWhoRuns(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.images.Add("byname:1", ocispec.ImageConfig{Cmd: []string{"x"}, User: "web"}, map[string]string{"etc/passwd": passwd, "etc/group": group})
	pod := w.pod("a")
	for name, tt := range map[string]struct {
		image  string
		sec    engine.Security
		uid    uint32
		gid    uint32
		groups []uint32
	}{
		"root without a word":                 {"web:1", engine.Security{}, 0, 0, []uint32{0}},
		"the image's user by name":            {"byname:1", engine.Security{}, 1000, 1001, []uint32{1001, 50000}},
		"a number that the image knows":       {"web:1", engine.Security{UID: number(1000)}, 1000, 1001, []uint32{1001, 50000}},
		"a number that it does not":           {"web:1", engine.Security{UID: number(7)}, 7, 0, []uint32{0}},
		"a group of one's own":                {"web:1", engine.Security{UID: number(1000), GID: number(9)}, 1000, 9, []uint32{9, 50000}},
		"further groups":                      {"web:1", engine.Security{UID: number(1000), Groups: []int64{5, 1001}}, 1000, 1001, []uint32{1001, 50000, 5}},
		"strict groups leave out the image's": {"web:1", engine.Security{UID: number(1000), Groups: []int64{5}, StrictGroups: true}, 1000, 1001, []uint32{1001, 5}},
		"a name and a group by name":          {"web:1", engine.Security{Username: "root:extra"}, 0, 50000, []uint32{50000}},
	} {
		t.Run(name, func(t *testing.T) {
			u := w.built(t, pod, engine.ContainerConfig{Image: tt.image, Security: tt.sec}).Process.User
			if u.UID != tt.uid || u.GID != tt.gid || !slices.Equal(u.AdditionalGids, tt.groups) {
				t.Errorf("user = %d:%d %v, want %d:%d %v", u.UID, u.GID, u.AdditionalGids, tt.uid, tt.gid, tt.groups)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	for name, tt := range map[string]struct {
		sec engine.Security
		has []string
		not []string
	}{
		"the usual ones":      {engine.Security{}, []string{"CAP_CHOWN", "CAP_KILL"}, []string{"CAP_SYS_ADMIN", "CAP_NET_ADMIN"}},
		"one more":            {engine.Security{AddCaps: []string{"NET_ADMIN"}}, []string{"CAP_NET_ADMIN", "CAP_CHOWN"}, nil},
		"one less":            {engine.Security{DropCaps: []string{"cap_chown"}}, []string{"CAP_KILL"}, []string{"CAP_CHOWN"}},
		"all dropped but one": {engine.Security{DropCaps: []string{"ALL"}, AddCaps: []string{"CHOWN"}}, []string{"CAP_CHOWN"}, []string{"CAP_KILL"}},
		"all added but one":   {engine.Security{AddCaps: []string{"ALL"}, DropCaps: []string{"CHOWN"}}, []string{"CAP_SYS_ADMIN"}, []string{"CAP_CHOWN"}},
	} {
		t.Run(name, func(t *testing.T) {
			caps := w.built(t, pod, engine.ContainerConfig{Security: tt.sec}).Process.Capabilities
			for _, c := range tt.has {
				if !slices.Contains(caps.Effective, c) || !slices.Contains(caps.Bounding, c) {
					t.Errorf("%s is missing in %v", c, caps.Effective)
				}
			}
			for _, c := range tt.not {
				if slices.Contains(caps.Bounding, c) {
					t.Errorf("%s is there", c)
				}
			}
		})
	}
	t.Run("ambient ones are in every set", func(t *testing.T) {
		caps := w.built(t, pod, engine.ContainerConfig{Security: engine.Security{AmbientCaps: []string{"NET_ADMIN"}}}).Process.Capabilities
		for _, set := range [][]string{caps.Ambient, caps.Inheritable, caps.Permitted, caps.Bounding} {
			if !slices.Contains(set, "CAP_NET_ADMIN") {
				t.Errorf("CAP_NET_ADMIN is missing in %v", set)
			}
		}
	})
}

func TestMountsOfARequest(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	pod := w.pod("a")
	src := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(src, link); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		m       engine.Mount
		options string
	}{
		"a plain one":             {engine.Mount{Source: src, Target: "/m"}, "rbind rprivate rw"},
		"read-only":               {engine.Mount{Source: src, Target: "/m", ReadOnly: true}, "rbind rprivate ro"},
		"read-only to the bottom": {engine.Mount{Source: src, Target: "/m", ReadOnly: true, Recursive: true}, "rbind rprivate rro"},
		"through a link":          {engine.Mount{Source: link, Target: "/m"}, "rbind rprivate rw"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := w.built(t, pod, engine.ContainerConfig{Mounts: []engine.Mount{tt.m}})
			m := mountAt(spec, "/m")
			if m == nil || m.Source != src || strings.Join(m.Options, " ") != tt.options {
				t.Errorf("mount = %+v, want %s with %q", m, src, tt.options)
			}
		})
	}
	t.Run("the request's hosts file takes the place of the pod's", func(t *testing.T) {
		spec := w.built(t, pod, engine.ContainerConfig{Mounts: []engine.Mount{{Source: src, Target: "/etc/hosts"}}})
		if m := mountAt(spec, "/etc/hosts"); m == nil || m.Source != src {
			t.Errorf("mount = %+v, want %s", m, src)
		}
	})
	t.Run("parents come first", func(t *testing.T) {
		spec := w.built(t, pod, engine.ContainerConfig{Mounts: []engine.Mount{{Source: src, Target: "/a/b"}, {Source: src, Target: "/a"}}})
		at := func(dst string) int {
			return slices.IndexFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == dst })
		}
		if at("/a") > at("/a/b") {
			t.Errorf("/a is mounted after, and over, /a/b")
		}
	})
	t.Run("a source that is not there becomes a directory", func(t *testing.T) {
		made := filepath.Join(src, "made")
		w.built(t, pod, engine.ContainerConfig{Mounts: []engine.Mount{{Source: made, Target: "/m"}}})
		if info, err := os.Stat(made); err != nil || !info.IsDir() {
			t.Errorf("Stat = %v, %v", info, err)
		}
	})
}

func TestAnImagesVolumesHaveItsFiles(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.images.Add("vol:1", ocispec.ImageConfig{Cmd: []string{"x"}, Volumes: map[string]struct{}{"/data": {}}}, map[string]string{"data/in/file": "text"})
	m := mountAt(w.built(t, w.pod("a"), engine.ContainerConfig{Image: "vol:1"}), "/data")
	if m == nil {
		t.Fatal("nothing is mounted at /data")
	}
	if b, err := os.ReadFile(filepath.Join(m.Source, "in/file")); err != nil || string(b) != "text" {
		t.Errorf("its file = %q, %v", b, err)
	}
}

func TestLimits(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	spec := w.built(t, w.pod("a"), engine.ContainerConfig{Resources: &engine.Resources{
		CPUPeriod: 100000, CPUQuota: 50000, CPUShares: 512, Memory: 1 << 20, OOMScoreAdj: 300, CPUs: "0-1",
		HugePages: []engine.HugePage{{Size: "2MB", Limit: 0}},
	}})
	r := spec.Linux.Resources
	if *r.CPU.Period != 100000 || *r.CPU.Quota != 50000 || *r.CPU.Shares != 512 || r.CPU.Cpus != "0-1" {
		t.Errorf("cpu = %+v", r.CPU)
	}
	if *r.Memory.Limit != 1<<20 || *spec.Process.OOMScoreAdj != 300 || len(r.HugepageLimits) != 1 {
		t.Errorf("memory %d, oom score %d, %d kinds of huge pages", *r.Memory.Limit, *spec.Process.OOMScoreAdj, len(r.HugepageLimits))
	}
	if len(r.Devices) == 0 || r.Devices[0].Allow {
		t.Errorf("devices begin with %+v, want all denied", r.Devices)
	}
}

func TestConfinement(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	profile := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(profile, []byte(`{"defaultAction":"SCMP_ACT_ALLOW"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pod, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "a", Privileged: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		sec  engine.Security
		want specs.LinuxSeccompAction
	}{
		"no word, no filter":       {engine.Security{}, ""},
		"unconfined":               {engine.Security{Seccomp: engine.Profile{Type: engine.ProfileUnconfined}}, ""},
		"the default":              {engine.Security{Seccomp: engine.Profile{Type: engine.ProfileDefault}}, specs.ActErrno},
		"a file":                   {engine.Security{Seccomp: engine.Profile{Type: engine.ProfileLocalhost, Ref: profile}}, specs.ActAllow},
		"privileged is unconfined": {engine.Security{Privileged: true, Seccomp: engine.Profile{Type: engine.ProfileDefault}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := w.built(t, pod, engine.ContainerConfig{Security: tt.sec})
			var got specs.LinuxSeccompAction
			if spec.Linux.Seccomp != nil {
				got = spec.Linux.Seccomp.DefaultAction
			}
			if got != tt.want {
				t.Errorf("seccomp's default = %q, want %q", got, tt.want)
			}
		})
	}
	docker := filepath.Join(t.TempDir(), "docker.json")
	text := `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"},
		{"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}}]}`
	if err := os.WriteFile(docker, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for capability, want := range map[string]int{"CHOWN": 1, "SYS_ADMIN": 2} {
		t.Run("a rule of a file that depends on capabilities, with "+capability, func(t *testing.T) {
			spec := w.built(t, pod, engine.ContainerConfig{Security: engine.Security{
				AddCaps: []string{capability}, Seccomp: engine.Profile{Type: engine.ProfileLocalhost, Ref: docker},
			}})
			if got := spec.Linux.Seccomp.Syscalls; len(got) != want {
				t.Errorf("rules %v, want %d of them", got, want)
			}
		})
	}
	t.Run("paths, no new privileges, a read-only root", func(t *testing.T) {
		spec := w.built(t, pod, engine.ContainerConfig{Security: engine.Security{
			MaskedPaths: []string{"/proc/kcore"}, ReadonlyPaths: []string{"/proc/sys"}, NoNewPrivileges: true, ReadonlyRootfs: true,
		}})
		if len(spec.Linux.MaskedPaths) != 1 || len(spec.Linux.ReadonlyPaths) != 1 || !spec.Process.NoNewPrivileges || !spec.Root.Readonly {
			t.Errorf("masked %v, read-only %v, no new privileges %t, root %+v",
				spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths, spec.Process.NoNewPrivileges, spec.Root)
		}
	})
}

func TestALevelAloneNeedsNoSELinux(t *testing.T) {
	needRoot(t)
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		t.Skip("this kernel runs with SELinux")
	}
	w := newWorld(t)
	level := &engine.SELinux{Level: "s0:c1,c2"}
	pod, err := w.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "a", SELinux: level})
	if err != nil {
		t.Fatal(err)
	}
	spec := w.built(t, pod, engine.ContainerConfig{Security: engine.Security{SELinux: level}})
	if spec.Process.SelinuxLabel != "" || spec.Linux.MountLabel != "" {
		t.Errorf("labels = %q, %q; want none", spec.Process.SelinuxLabel, spec.Linux.MountLabel)
	}
}

func TestWhatIsWrongIsRefusedByName(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.images.Add("empty:1", ocispec.ImageConfig{}, nil)
	pod := w.pod("a")
	sec := func(s engine.Security) engine.ContainerConfig { return engine.ContainerConfig{Security: s} }
	mnt := func(m engine.Mount) engine.ContainerConfig {
		return engine.ContainerConfig{Mounts: []engine.Mount{m}}
	}
	res := func(r engine.Resources) engine.ContainerConfig { return engine.ContainerConfig{Resources: &r} }
	for name, tt := range map[string]struct {
		cfg   engine.ContainerConfig
		kind  fault.Kind
		field string
	}{
		"no command at all":               {engine.ContainerConfig{Image: "empty:1"}, fault.Invalid, "command"},
		"a variable without a name":       {engine.ContainerConfig{Env: []string{"=x"}}, fault.Invalid, "envs[0]"},
		"an unknown image":                {engine.ContainerConfig{Image: "none"}, fault.NotFound, "image"},
		"an unknown user":                 {sec(engine.Security{Username: "who"}), fault.Invalid, "run_as_username"},
		"a user below zero":               {sec(engine.Security{UID: number(-1)}), fault.Invalid, "run_as_user"},
		"a group without a user":          {sec(engine.Security{GID: number(1)}), fault.Invalid, "run_as_group"},
		"a user twice":                    {sec(engine.Security{UID: number(1), Username: "web"}), fault.Invalid, "run_as_user"},
		"a group that cannot be":          {sec(engine.Security{Groups: []int64{1 << 33}}), fault.Invalid, "supplemental_groups[0]"},
		"an unknown capability":           {sec(engine.Security{AddCaps: []string{"FLY"}}), fault.Invalid, "add_capabilities[0]"},
		"privileged in a pod that is not": {sec(engine.Security{Privileged: true}), fault.Precondition, "privileged"},
		"a profile that is not there":     {sec(engine.Security{Seccomp: engine.Profile{Type: engine.ProfileLocalhost, Ref: "/none"}}), fault.Invalid, "seccomp"},
		"a profile by a bare name":        {sec(engine.Security{Seccomp: engine.Profile{Type: engine.ProfileLocalhost, Ref: "p"}}), fault.Invalid, "seccomp"},
		"SELinux without SELinux":         {sec(engine.Security{SELinux: &engine.SELinux{Type: "t"}}), fault.Precondition, "selinux_options"},
		"a target without a name":         {sec(engine.Security{PID: engine.ModeTarget}), fault.Invalid, "target_id"},
		"processes that are not shared":   {sec(engine.Security{PID: engine.ModePod}), fault.Invalid, "pid"},
		"a relative target":               {mnt(engine.Mount{Source: "/tmp", Target: "m"}), fault.Invalid, "container_path"},
		"the root as target":              {mnt(engine.Mount{Source: "/tmp", Target: "/x/.."}), fault.Invalid, "container_path"},
		"a relative source":               {mnt(engine.Mount{Source: "tmp", Target: "/m"}), fault.Invalid, "host_path"},
		"recursive but writable":          {mnt(engine.Mount{Source: "/tmp", Target: "/m", Recursive: true}), fault.Invalid, "recursive_read_only"},
		"an unknown propagation":          {mnt(engine.Mount{Source: "/tmp", Target: "/m", Propagation: "x"}), fault.Invalid, "propagation"},
		"an image and a directory":        {mnt(engine.Mount{Source: "/tmp", Image: "web:1", Target: "/m"}), fault.Invalid, "image"},
		"a path out of an image":          {mnt(engine.Mount{Image: "web:1", ImageSubPath: "../..", Target: "/m", ReadOnly: true}), fault.Invalid, "image_sub_path"},
		"an image to write to":            {mnt(engine.Mount{Image: "web:1", Target: "/m"}), fault.Invalid, "readonly"},
		"no device":                       {engine.ContainerConfig{Devices: []engine.Device{{Source: "/etc/passwd", Target: "/dev/x"}}}, fault.Invalid, "devices[0]"},
		"odd permissions":                 {engine.ContainerConfig{Devices: []engine.Device{{Source: "/dev/null", Target: "/dev/x", Permissions: "x"}}}, fault.Invalid, "permissions"},
		"an unknown CDI device":           {engine.ContainerConfig{CDI: []string{"a.com/b=c"}}, fault.Invalid, "CDI_devices"},
		"an odd signal":                   {engine.ContainerConfig{StopSignal: "SIGNOT"}, fault.Invalid, "stop_signal"},
		"too short a period":              {res(engine.Resources{CPUPeriod: 10}), fault.Invalid, "cpu_period"},
		"shares below zero":               {res(engine.Resources{CPUShares: -2}), fault.Invalid, "cpu_shares"},
		"an odd score":                    {res(engine.Resources{OOMScoreAdj: 2000}), fault.Invalid, "oom_score_adj"},
		"less swap than memory":           {res(engine.Resources{Memory: 2, Swap: 1}), fault.Invalid, "memory_swap_limit_in_bytes"},
		"an odd set":                      {res(engine.Resources{CPUs: "3-1"}), fault.Invalid, "cpuset_cpus"},
		"an odd page":                     {res(engine.Resources{HugePages: []engine.HugePage{{Size: "2XB"}}}), fault.Invalid, "hugepage_limits[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.cfg.Name = "main"
			if tt.cfg.Image == "" {
				tt.cfg.Image = "web:1"
			}
			_, err := w.CreateContainer(t.Context(), "cri", pod.ID, tt.cfg)
			if err == nil || fault.Of(err) != tt.kind || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("CreateContainer = %v; want %q and the field %s", err, tt.kind, tt.field)
			}
		})
	}
	if err := w.RemovePod(t.Context(), "cri", pod.ID); err != nil {
		t.Fatal(err)
	}
	w.left()
}

func TestPodsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct {
		cfg   engine.PodConfig
		kind  fault.Kind
		field string
	}{
		"no name":                     {engine.PodConfig{}, fault.Invalid, "metadata.name"},
		"an unknown handler":          {engine.PodConfig{Name: "a", Handler: "x"}, fault.Invalid, "runtime_handler"},
		"a setting of the host":       {engine.PodConfig{Name: "a", Sysctls: map[string]string{"kernel.panic": "1"}}, fault.Invalid, "kernel.panic"},
		"a setting of the host's net": {engine.PodConfig{Name: "a", Net: engine.ModeNode, Sysctls: map[string]string{"net.core.somaxconn": "1"}}, fault.Invalid, "somaxconn"},
		"too long a host name":        {engine.PodConfig{Name: "a", Hostname: strings.Repeat("x", 65)}, fault.Invalid, "hostname"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.cfg.Owner = "cri"
			_, err := w.RunPod(t.Context(), tt.cfg)
			if err == nil || fault.Of(err) != tt.kind || !strings.Contains(err.Error(), tt.field) {
				t.Errorf("RunPod = %v; want %q and the field %s", err, tt.kind, tt.field)
			}
		})
	}
	w.left()
}

func mountAt(spec *specs.Spec, dst string) *specs.Mount {
	for i := range spec.Mounts {
		if spec.Mounts[i].Destination == dst {
			return &spec.Mounts[i]
		}
	}
	return nil
}
