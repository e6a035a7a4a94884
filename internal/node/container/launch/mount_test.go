package launch

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestMounts(t *testing.T) {
	needRoot(t)
	img := image(t)
	src := t.TempDir()
	must(t, os.WriteFile(filepath.Join(src, "file"), []byte("of the host\n"), 0o644))
	must(t, os.Mkdir(filepath.Join(src, "below"), 0o755))
	must(t, unix.Mount("tmpfs", filepath.Join(src, "below"), "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(src, "below"), unix.MNT_DETACH)) })
	file := filepath.Join(src, "file")
	opened, err := os.Open(src)
	must(t, err)
	defer opened.Close()
	for name, tt := range map[string]struct {
		mount specs.Mount
		ask   []string
		want  string
	}{
		"a directory of the host is bound": {
			specs.Mount{Destination: "/data", Type: "bind", Source: src, Options: []string{"rbind", "rw"}},
			[]string{"cat /data/file", "write /data/x", "cat /data/x"}, `^of the host\nwritten\n$`},
		"a file of the host is bound over one that is missing": {
			specs.Mount{Destination: "/etc/app/conf", Source: file, Options: []string{"bind"}},
			[]string{"cat /etc/app/conf"}, `^of the host\n$`},
		"a bind mount is read-only": {
			specs.Mount{Destination: "/data", Source: src, Options: []string{"rbind", "ro", "nosuid", "noexec"}},
			[]string{"write /data/x", "grep /data /proc/self/mountinfo"}, `read-only file system\n(.*\n)*.* /data ro,nosuid,noexec,relatime -`},
		"read-only stops at mounts below": {
			specs.Mount{Destination: "/data", Source: src, Options: []string{"rbind", "ro"}},
			[]string{"write /data/below/x", "cat /data/below/x"}, `^written\n$`},
		"recursively read-only does not": {
			specs.Mount{Destination: "/data", Source: src, Options: []string{"rbind", "rro"}},
			[]string{"write /data/below/y"}, `read-only file system`},
		"a plain bind leaves out mounts below": {
			specs.Mount{Destination: "/data", Source: src, Options: []string{"bind"}},
			[]string{"write /data/below/z", "grep /data/below /proc/self/mountinfo"}, `^$`},
		"access times are replaced": {
			specs.Mount{Destination: "/data", Source: src, Options: []string{"bind", "noatime"}},
			[]string{"grep /data /proc/self/mountinfo"}, `/data rw,noatime -`},
		"a bind mount is private": {
			specs.Mount{Destination: "/data", Source: src, Options: []string{"rbind"}},
			[]string{"grep /data /proc/self/mountinfo"}, `/data rw,relatime - `},
		"a path through an open file is bound, as the kubelet gives subpaths": {
			specs.Mount{Destination: "/data", Source: "/proc/self/fd/" + itoa(opened.Fd()), Options: []string{"bind"}},
			[]string{"cat /data/file"}, `^of the host\n$`},
		"a tmpfs has its options": {
			specs.Mount{Destination: "/scratch", Type: "tmpfs", Source: "tmpfs", Options: []string{"noexec", "size=64k", "mode=1770"}},
			[]string{"stat /scratch", "grep /scratch /proc/self/mountinfo"}, `/scratch 41770 0:0 .*\n.* rw,noexec,relatime - tmpfs tmpfs rw,size=64k,mode=1770`},
		"a tmpfs is read-only": {
			specs.Mount{Destination: "/scratch", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro"}},
			[]string{"write /scratch/x"}, `read-only file system`},
		"a link in the image leads to a place in the image": {
			specs.Mount{Destination: "/link/x", Source: src, Options: []string{"bind"}},
			[]string{"cat /tmp/inside/x/file"}, `^of the host\n$`},
		"a link cannot climb out of the image": {
			specs.Mount{Destination: "/climb/x", Source: src, Options: []string{"bind"}},
			[]string{"cat /tmp/x/file"}, `^of the host\n$`},
	} {
		t.Run(name, func(t *testing.T) {
			root := overlay(t, img)
			must(t, os.MkdirAll(filepath.Join(root.Base, "upper/tmp/inside"), 0o755))
			must(t, os.Symlink("/tmp/inside", filepath.Join(root.Base, "upper/link")))
			must(t, os.Symlink("../../../../../tmp", filepath.Join(root.Base, "upper/climb")))
			spec := dockerSpec(append([]string{"probe"}, tt.ask...)...)
			spec.Mounts = append(spec.Mounts, tt.mount)
			got := runSpec(t, Request{ID: "web", Spec: spec, Root: root})
			if !regexp.MustCompile(tt.want).MatchString(got.out) {
				t.Errorf("%v: probe %q = %q; want %s", tt.mount, tt.ask, got.out, tt.want)
			}
		})
	}
}

// A shared mount of the host shows in the container what is mounted later, and
// with rshared the host sees what the container mounts.
func TestPropagation(t *testing.T) {
	needRoot(t)
	img := image(t)
	src := t.TempDir()
	must(t, unix.Mount("tmpfs", src, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(src, unix.MNT_DETACH)) })
	must(t, unix.Mount("", src, "", unix.MS_SHARED, ""))
	must(t, os.Mkdir(filepath.Join(src, "in"), 0o755))
	must(t, os.Mkdir(filepath.Join(src, "out"), 0o755))
	for option, want := range map[string]struct{ in, out bool }{
		"rprivate": {false, false}, "rslave": {true, false}, "rshared": {true, true},
	} {
		t.Run(option, func(t *testing.T) {
			spec := dockerSpec("probe", "mount /data/out", "say mounted", "echo", "grep /data/in /proc/self/mountinfo")
			spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/data", Source: src, Options: []string{"rbind", option}})
			spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities}
			stdin, in, err := os.Pipe()
			must(t, err)
			out, stdout, err := os.Pipe()
			must(t, err)
			p, err := Start(Request{ID: "web", Spec: spec, Root: overlay(t, img), Stdin: stdin, Stdout: stdout})
			must(t, err)
			must(t, stdin.Close())
			must(t, stdout.Close())
			defer out.Close()
			lines := bufio.NewReader(out)
			if line, err := lines.ReadString('\n'); line != "mounted\n" {
				t.Fatalf("container says %q, %v; want that it has mounted", line, err)
			}
			mounts, err := os.ReadFile("/proc/self/mounts")
			must(t, err)
			if seen := strings.Contains(string(mounts), filepath.Join(src, "out")); seen != want.out {
				t.Errorf("host sees the container's mount: %v, want %v", seen, want.out)
			}
			must(t, unix.Mount("tmpfs", filepath.Join(src, "in"), "tmpfs", 0, ""))
			_, err = in.WriteString("go on\n")
			must(t, err)
			must(t, in.Close())
			rest, err := io.ReadAll(lines)
			must(t, err)
			if seen := strings.Contains(string(rest), "/data/in"); seen != want.in {
				t.Errorf("container says %q, want it to see the host's mount: %v", rest, want.in)
			}
			wait(t, p)
			must(t, unix.Unmount(filepath.Join(src, "in"), 0))
			_ = unix.Unmount(filepath.Join(src, "out"), 0) // there if the container's mount was shared
		})
	}
}

func TestCgroupMount(t *testing.T) {
	needRoot(t)
	src := t.TempDir()
	must(t, os.WriteFile(filepath.Join(src, "limit"), []byte("7\n"), 0o644))
	spec := dockerSpec("probe", "cat /sys/fs/cgroup/memory/limit", "write /sys/fs/cgroup/memory/limit", "mkdir /sys/fs/cgroup/x")
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Options: []string{"ro", "nosuid"}})
	got := runSpec(t, Request{ID: "web", Spec: spec, Root: overlay(t, image(t)), CgroupMounts: []CgroupMount{{"memory", src}, {"pids", src}}})
	if !strings.HasPrefix(got.out, "7\n") || strings.Count(got.out, "read-only file system") != 2 {
		t.Errorf("output = %q, want the limit and two refusals", got.out)
	}
}

func TestParseOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		list []string
		want options
	}{
		"the last one wins":               {[]string{"ro", "rw"}, options{clear: unix.MOUNT_ATTR_RDONLY}},
		"access times are one choice":     {[]string{"noatime", "strictatime"}, options{flags: unix.MS_NOATIME | unix.MS_STRICTATIME, set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME}},
		"an r before a flag means deep":   {[]string{"rro"}, options{rset: unix.MOUNT_ATTR_RDONLY}},
		"relatime is no deep elatime":     {[]string{"relatime"}, options{flags: unix.MS_RELATIME, clear: unix.MOUNT_ATTR__ATIME}},
		"propagation is not a flag":       {[]string{"rbind", "rslave"}, options{bind: true, recursive: true, propagation: unix.MS_SLAVE, deep: true}},
		"the rest is for the filesystem":  {[]string{"size=1k", "mode=755"}, options{data: []string{"size=1k", "mode=755"}}},
		"an option of no meaning is none": {[]string{"defaults", ""}, options{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := parseOptions(tt.list)
			if len(got.data) == 0 {
				got.data = nil
			}
			if g, w := show(got), show(tt.want); g != w {
				t.Errorf("parseOptions(%q) = %s, want %s", tt.list, g, w)
			}
		})
	}
}
