package devices

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/test/need"
)

// tree makes a directory with two devices, a file, a link and what containers
// have of their own.
func tree(t *testing.T) string {
	t.Helper()
	need.Root(t)
	dir := t.TempDir()
	for _, sub := range []string{"sub", "pts"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, minor := range map[string]uint32{"null": 3, "sub/zero": 5, "pts/7": 7, "console": 9} {
		if err := unix.Mknod(filepath.Join(dir, name), unix.S_IFCHR|0o640, int(unix.Mkdev(1, minor))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("null", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHost(t *testing.T) {
	dir := tree(t)
	for name, tt := range map[string]struct {
		path, inside, access string
		want                 []string // path inside and minor number
		kind                 fault.Kind
	}{
		"a device":                       {dir + "/null", "/dev/x", "rw", []string{"/dev/x 3 rw"}, ""},
		"a device where it is":           {dir + "/null", "", "", []string{dir + "/null 3 "}, ""},
		"a link is followed":             {dir + "/link", "/dev/l", "r", []string{"/dev/l 3 r"}, ""},
		"a directory gives all below it": {dir, "/dev/d", "rwm", []string{"/dev/d/null 3 rwm", "/dev/d/sub/zero 5 rwm"}, ""},
		"a file is no device":            {dir + "/file", "", "", nil, fault.Invalid},
		"what is not there":              {dir + "/none", "", "", nil, fault.NotFound},
		"unknown permissions":            {dir + "/null", "", "rx", nil, fault.Invalid},
		"a relative path":                {"null", "", "", nil, fault.Invalid},
		"a relative path inside":         {dir + "/null", "x", "", nil, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Host(tt.path, tt.inside, tt.access)
			if fault.Of(err) != tt.kind {
				t.Fatalf("Host = %v, want kind %q", err, tt.kind)
			}
			var got []string
			for _, d := range found {
				got = append(got, strings.Join([]string{d.Path, string('0' + rune(d.Minor)), d.Access}, " "))
				if d.Type != "c" || d.Major != 1 || d.FileMode.Perm() != 0o640 || *d.UID != 0 {
					t.Errorf("device = %+v", d)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("Host = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAllHasTheUsualDevicesAndNoTerminals(t *testing.T) {
	found, err := All()
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	for _, d := range found {
		paths[d.Path] = true
	}
	if !paths["/dev/null"] || paths["/dev/pts/0"] || paths["/dev/console"] {
		t.Errorf("All = %v", paths)
	}
}

func TestAddGivesNodesAndRules(t *testing.T) {
	null := Device{LinuxDevice: specs.LinuxDevice{Path: "/dev/x", Type: "c", Major: 1, Minor: 3}}
	zero := Device{LinuxDevice: specs.LinuxDevice{Path: "/dev/x", Type: "c", Major: 1, Minor: 5}, Access: "r"}
	var spec specs.Spec
	Add(&spec, null, zero)
	if len(spec.Linux.Devices) != 1 || spec.Linux.Devices[0].Minor != 5 {
		t.Errorf("devices = %+v, want the later of one path", spec.Linux.Devices)
	}
	rules := spec.Linux.Resources.Devices
	if len(rules) != 2 || *rules[0].Minor != 3 || rules[0].Access != "rwm" || *rules[1].Minor != 5 || rules[1].Access != "r" || !rules[1].Allow {
		t.Errorf("rules = %+v, want one a device", rules)
	}
}

func TestInject(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("vendor.json", `{"cdiVersion":"0.6.0","kind":"vendor.com/gpu",
		"containerEdits":{"env":["ALL=1"]},
		"devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"/dev/gpu0","hostPath":"/dev/null"}],
			"mounts":[{"hostPath":"/usr/lib/gpu","containerPath":"/usr/lib/gpu","options":["ro","bind"]}]}}]}`)
	r, err := OpenRegistry(Config{Dirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	spec := specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
	if err := r.Inject(&spec, "vendor.com/gpu=0"); err != nil {
		t.Fatal(err)
	}
	if len(spec.Linux.Devices) != 1 || spec.Linux.Devices[0].Path != "/dev/gpu0" || spec.Linux.Devices[0].Minor != 3 {
		t.Errorf("devices = %+v, want /dev/gpu0", spec.Linux.Devices)
	}
	if len(spec.Linux.Resources.Devices) != 1 || !slices.Contains(spec.Process.Env, "ALL=1") || len(spec.Mounts) != 1 {
		t.Errorf("spec = %+v, want a rule, the environment and a mount", spec)
	}
	if err := r.Inject(&spec, "vendor.com/gpu=9"); fault.Of(err) != fault.NotFound || !strings.Contains(err.Error(), dir) {
		t.Errorf("Inject of an unknown device = %v, want %v", err, fault.NotFound)
	}
	for _, name := range []string{"gpu", "v.com/x=1", "v/gpu=1", "vendor.com/gpu="} {
		if err := r.Inject(&spec, name); fault.Of(err) != fault.Invalid {
			t.Errorf("Inject(%q) = %v, want %v", name, err, fault.Invalid)
		}
	}
	// What a vendor installs later is found, and a broken file is named.
	write("other.json", `{"cdiVersion":"0.6.0","kind":"other.com/nic","devices":[{"name":"a","containerEdits":{"env":["NIC=a"]}}]}`)
	if err := r.Inject(&spec, "other.com/nic=a"); err != nil {
		t.Errorf("Inject of a device that came later = %v", err)
	}
	write("broken.json", `{`)
	if err := r.Inject(&spec, "broken.com/disk=1"); err == nil || !strings.Contains(err.Error(), "broken.json") {
		t.Errorf("Inject = %v, want the broken file named", err)
	}
	if err := os.Remove(filepath.Join(dir, "broken.json")); err != nil {
		t.Fatal(err)
	}
	// The library panics on a class of one letter.
	write("short.json", `{"cdiVersion":"0.6.0","kind":"short.com/x","devices":[{"name":"a","containerEdits":{"env":["A=a"]}}]}`)
	if err := r.Inject(&spec, "vendor.com/gpu=0"); err != nil && fault.Of(err) != fault.Corrupt {
		t.Errorf("Inject beside a file that the library cannot read = %v, want %v", err, fault.Corrupt)
	}
	if err := os.Remove(filepath.Join(dir, "short.json")); err != nil {
		t.Fatal(err)
	}
	if err := r.Inject(&spec, "vendor.com/gpu=0"); err != nil {
		t.Errorf("Inject after that file is gone = %v", err)
	}
}
