package debian

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/test/need"
)

// entry is what a test looks at in a layer.
type entry struct {
	tar.Header
	content string
}

// built builds an image and reads its layer.
func built(t *testing.T, opt Options) (*Image, map[string]entry) {
	t.Helper()
	if opt.Cache == "" {
		opt.Cache = t.TempDir()
	}
	m, err := Build(t.Context(), opt)
	if err != nil {
		t.Fatalf("Build: %v", err)
	}
	t.Cleanup(func() { m.Close() })
	f, err := os.Open(m.Layer)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	layer := make(map[string]entry)
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return m, layer
		}
		if err != nil {
			t.Fatalf("read layer: %v", err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		layer[strings.TrimSuffix(h.Name, "/")] = entry{*h, string(content)}
	}
}

func TestAnImageHasThePackagesAndWhatTheyDependOn(t *testing.T) {
	src := archive(t,
		deb{name: "web", version: "1:2.0", depends: "lib", files: map[string]string{"usr/bin/web": "web", "bin/tool": "tool", "usr/share/man/man1/web.1": "page", "usr/share/doc/web/copyright": "(c)", "usr/share/doc/web/README": "read"}},
		deb{name: "lib", files: map[string]string{"lib/libx.so.1": "-> libx.so.1.0", "lib/libx.so.1.0": "x", "usr/lib/liby.so": "y"}},
		deb{name: "unrelated", files: map[string]string{"usr/bin/unrelated": "x"}})
	m, layer := built(t, Options{Name: "shop/web", Packages: []string{"web"}, Sources: src, NoShell: true, Labels: map[string]string{"team": "shop"}, Ports: []string{"8080"}})
	for name, want := range map[string]string{"usr/bin/web": "web", "usr/bin/tool": "tool", "usr/lib/libx.so.1.0": "x", "usr/lib/liby.so": "y", "usr/share/doc/web/copyright": "(c)"} {
		if got := layer[name].content; got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"bin": "usr/bin", "lib": "usr/lib", "usr/lib/libx.so.1": "libx.so.1.0", "var/run": "/run"} {
		if got := layer[name].Linkname; got != want {
			t.Errorf("%s -> %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"usr/bin/unrelated", "usr/share/man/man1/web.1", "usr/share/doc/web/README", "usr/sbin/update-passwd", "usr/share/base-passwd"} {
		if _, ok := layer[name]; ok {
			t.Errorf("%s is in the image", name)
		}
	}
	if mode := layer["tmp"].Mode; mode != 0o1777 {
		t.Errorf("/tmp has mode %o, want 1777", mode)
	}
	if s := layer["var/lib/dpkg/status"].content; !strings.Contains(s, "Package: lib\nStatus: install ok installed\nVersion: 1\n") {
		t.Errorf("dpkg's status lacks lib: %s", s)
	}
	c := m.Config
	if got := c.Config.Labels; got["org.opencontainers.image.version"] != "1:2.0" || got[PackagesLabel] != "lib=1 web=1:2.0" || got["team"] != "shop" || got["org.opencontainers.image.title"] != "shop/web" {
		t.Errorf("labels = %v", got)
	}
	if _, ok := c.Config.ExposedPorts["8080/tcp"]; !ok || !slices.Equal(c.Config.Cmd, []string{"/bin/sh"}) || c.OS != "linux" || c.RootFS.DiffIDs[0] != m.DiffID {
		t.Errorf("config = %+v", c)
	}
}

func TestTheSamePackagesGiveTheSameDigest(t *testing.T) {
	src := archive(t, deb{name: "web", files: map[string]string{"usr/bin/web": "web"}, postinst: "adduser --system b\nadduser --system a\n"})
	first, layer := built(t, Options{Packages: []string{"web"}, Sources: src, NoShell: true})
	second, _ := built(t, Options{Packages: []string{"web"}, Sources: src, NoShell: true})
	if first.DiffID != second.DiffID || !first.Config.Created.Equal(*second.Config.Created) {
		t.Errorf("digests %s and %s, created %s and %s", first.DiffID, second.DiffID, first.Config.Created, second.Config.Created)
	}
	newest := time.Unix(1700000000, 0)
	for name, e := range layer {
		if e.ModTime.After(newest) {
			t.Errorf("%s is of %s, newer than any package", name, e.ModTime)
		}
	}
	early, layer := built(t, Options{Packages: []string{"web"}, Sources: src, NoShell: true, Epoch: time.Unix(1600000000, 0)})
	if got := layer["usr/bin/web"].ModTime.Unix(); got != 1600000000 || early.Config.Created.Unix() != 1600000000 {
		t.Errorf("with an epoch, a file is of %d, the image of %s", got, early.Config.Created)
	}
}

func TestWhatScriptsOfPackagesMake(t *testing.T) {
	src := archive(t,
		deb{name: "db", files: map[string]string{"etc/db.conf": "x", "usr/bin/db.basic": "b", "usr/bin/db.full": "f", "usr/lib/sysusers.d/db.conf": "u probe - \"A probe\" /run/probe\n"},
			postinst: "#!/bin/sh\nset -e\nUSER=\"db\"\nif [ \"$1\" = configure ]; then\n\tadduser \\\n\t\t--system \\\n\t\t--home /var/lib/db --quiet \\\n\t\t--group ${USER} || true\n\tadduser db adm\n" +
				"\tdpkg-statoverride --update --add ${USER} ${USER} 640 /etc/db.conf\n" +
				"\tupdate-alternatives --install /usr/bin/db db /usr/bin/db.full 50 --slave /usr/share/man/man1/db.1.gz db.1.gz /usr/share/man/man1/db.full.1.gz\n" +
				"\tupdate-alternatives --install /usr/bin/db db /usr/bin/db.basic 10\n\tadduser --system $UNKNOWN\nfi\n"},
		deb{name: "ca-certificates", files: map[string]string{"usr/share/ca-certificates/m/b.crt": "BBB\n", "usr/share/ca-certificates/m/a.crt": "AAA"}})
	_, layer := built(t, Options{Packages: []string{"db", "ca-certificates"}, Sources: src, NoShell: true})
	for file, lines := range map[string][]string{
		"etc/passwd": {"root:*:0:0:root:/root:/bin/sh", "www-data:*:33:33", "probe:*:100:100::/run/probe:/usr/sbin/nologin", "db:*:101:101::/var/lib/db:/usr/sbin/nologin"},
		"etc/group":  {"db:*:101:", "adm:*:4:db"},
	} {
		for _, line := range lines {
			if !strings.Contains(layer[file].content, line) {
				t.Errorf("%s lacks %q:\n%s", file, line, layer[file].content)
			}
		}
	}
	if strings.Contains(layer["etc/passwd"].content, "UNKNOWN") {
		t.Error("a command with an unknown variable was obeyed")
	}
	if d := layer["var/lib/db"]; d.Uid != 101 || d.Typeflag != tar.TypeDir {
		t.Errorf("home = %+v, want a directory of 101", d.Header)
	}
	if f := layer["etc/db.conf"]; f.Uid != 101 || f.Gid != 101 || f.Mode != 0o640 {
		t.Errorf("etc/db.conf is %d:%d %o, want 101:101 640", f.Uid, f.Gid, f.Mode)
	}
	if a, b := layer["usr/bin/db"].Linkname, layer["etc/alternatives/db"].Linkname; a != "/etc/alternatives/db" || b != "/usr/bin/db.full" {
		t.Errorf("usr/bin/db -> %s -> %s, want the alternative of priority 50", a, b)
	}
	if _, ok := layer["etc/alternatives/db.1.gz"]; ok {
		t.Error("there is an alternative for a manual that was left out")
	}
	if got := layer["etc/ssl/certs/ca-certificates.crt"].content; got != "AAA\nBBB\n" {
		t.Errorf("certificates = %q", got)
	}
}

func TestAServerRunsInTheForeground(t *testing.T) {
	src := archive(t, deb{name: "nginx", files: map[string]string{"usr/sbin/nginx": "x", "var/log/nginx": "", "usr/share/nginx/html/index.html": "<h1>hello</h1>"}})
	m, layer := built(t, Options{Packages: []string{"nginx"}, Sources: src, NoShell: true})
	if got := m.Config.Config; !slices.Equal(got.Cmd, []string{"nginx", "-g", "daemon off;"}) || got.StopSignal != "SIGQUIT" || len(got.ExposedPorts) != 1 {
		t.Errorf("config = %+v", got)
	}
	if a, e := layer["var/log/nginx/access.log"].Linkname, layer["var/log/nginx/error.log"].Linkname; a != "/dev/stdout" || e != "/dev/stderr" {
		t.Errorf("logs lead to %q and %q", a, e)
	}
	if got := layer["var/www/html/index.nginx-debian.html"].content; got != "<h1>hello</h1>" {
		t.Errorf("page = %q", got)
	}
	m, _ = built(t, Options{Packages: []string{"nginx"}, Sources: src, NoShell: true, Entrypoint: []string{"/usr/sbin/nginx"}, Cmd: []string{"-t"}})
	if got := m.Config.Config; !slices.Equal(got.Entrypoint, []string{"/usr/sbin/nginx"}) || !slices.Equal(got.Cmd, []string{"-t"}) {
		t.Errorf("config = %+v, want the one asked for", got)
	}
}

func TestBusyboxFillsInWhatIsMissing(t *testing.T) {
	box := deb{name: "busybox", files: map[string]string{"bin/busybox": "ELF\x00[\x00[[\x00cat\x00ls\x00sh\x00\x00rest"}}
	src := archive(t, box, deb{name: "tools", files: map[string]string{"bin/cat": "own"}})
	_, layer := built(t, Options{Packages: []string{"tools"}, Sources: src})
	for name, want := range map[string]string{"usr/bin/sh": "busybox", "usr/bin/ls": "busybox", "usr/bin/[": "busybox", "usr/bin/cat": ""} {
		if got := layer[name].Linkname; got != want {
			t.Errorf("%s -> %q, want %q", name, got, want)
		}
	}
	if got := layer["usr/bin/cat"].content; got != "own" {
		t.Errorf("cat = %q, want the package's own", got)
	}
}

func TestBadPackagesAreNamedAndNothingIsLeft(t *testing.T) {
	src := archive(t,
		deb{name: "needy", depends: "absent", files: map[string]string{"x": "y"}},
		deb{name: "ok", files: map[string]string{"x": "y"}})
	for name, tt := range map[string]struct {
		packages []string
		kind     fault.Kind
		says     string
	}{
		"no package":             {nil, fault.Invalid, "no package"},
		"an unknown package":     {[]string{"ok", "nope"}, fault.NotFound, "nope"},
		"an unknown version":     {[]string{"ok=7"}, fault.NotFound, "ok"},
		"an option as a package": {[]string{"-oDebug::x=1"}, fault.Invalid, "-oDebug"},
		"a path as a package":    {[]string{"./x.deb"}, fault.Invalid, "./x.deb"},
		"a removal":              {[]string{"ok-"}, fault.Invalid, "ok-"},
		"a missing dependency":   {[]string{"needy"}, fault.Precondition, "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			_, err := Build(t.Context(), Options{Name: "bad", Packages: tt.packages, Sources: src, Cache: cache, NoShell: true})
			if fault.Of(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Build(%q) = %v; want kind %q and %q named", tt.packages, err, tt.kind, tt.says)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "build-*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestAFailedDownloadSaysSo(t *testing.T) {
	src := archive(t, deb{name: "ok", files: map[string]string{"x": "y"}})
	debs, _ := filepath.Glob(filepath.Join(filepath.Dir(src), "ok_all.deb"))
	cache := t.TempDir()
	if err := os.Remove(debs[0]); err != nil {
		t.Fatal(err)
	}
	_, err := Build(t.Context(), Options{Name: "bad", Packages: []string{"ok"}, Sources: src, Cache: cache, NoShell: true})
	if fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "ok") {
		t.Errorf("Build = %v; want unavailable, and the package", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "build-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// piped is a connection.
func piped() net.Conn {
	near, far := net.Pipe()
	far.Close()
	return near
}

// A mirror that cannot be reached is told at once, and by its name.
func TestAMirrorOutOfReachIsNamed(t *testing.T) {
	need.Command(t, "apt-get")
	for _, key := range []string{"http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(key, "")
	}
	sources := filepath.Join(t.TempDir(), "sources.list")
	put(t, sources, "deb [trusted=yes] http://mirror.example.org/debian ./\ndeb [trusted=yes] https://other.example.org:8443/x ./\n")
	for name, tt := range map[string]struct {
		dial func(ctx context.Context, network, addr string) (net.Conn, error)
		want string
	}{
		"no route": {func(_ context.Context, network, addr string) (net.Conn, error) {
			if addr != "mirror.example.org:80" {
				return piped(), nil
			}
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ENETUNREACH}
		}, "the package mirror http://mirror.example.org:80 cannot be reached, check the network or name another mirror in apt's sources: network is unreachable: unavailable"},
		"no answer": {func(ctx context.Context, _, addr string) (net.Conn, error) {
			if addr != "other.example.org:8443" {
				return piped(), nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}, "the package mirror https://other.example.org:8443 cannot be reached, check the network or name another mirror in apt's sources: no connection within 100ms: unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			var steps []string
			a := newApt(t.TempDir(), sources, func(p Progress) { steps = append(steps, p.Step+" "+p.Package) })
			a.dial, a.reachLimit = tt.dial, 100*time.Millisecond
			_, err := a.get(t.Context(), []string{"web"})
			if err == nil || err.Error() != tt.want {
				t.Errorf("get = %v, want %s", err, tt.want)
			}
			if want := []string{"connect mirror.example.org:80", "connect other.example.org:8443"}; !slices.Equal(steps, want) {
				t.Errorf("progress = %q, want %q", steps, want)
			}
		})
	}
	t.Run("a proxy may reach it", func(t *testing.T) {
		t.Setenv("http_proxy", "http://127.0.0.1:1")
		a := newApt(t.TempDir(), sources, func(Progress) {})
		a.own = true
		if m, err := a.mirrors(t.Context()); len(m) > 0 || err != nil {
			t.Errorf("mirrors = %v, %v; want none", m, err)
		}
	})
}

func TestProgressTellsWhatIsFetched(t *testing.T) {
	src := archive(t, deb{name: "web", files: map[string]string{"usr/bin/web": "web"}})
	seen := map[string]bool{}
	built(t, Options{Name: "web", Packages: []string{"web"}, NoShell: true, Sources: src, Progress: func(p Progress) {
		seen[p.Step] = seen[p.Step] || p.Package != ""
	}})
	if !seen["update"] || !seen["download"] {
		t.Errorf("steps with what they fetch: %v, want update and download among them", seen)
	}
}

func TestALocalArchiveIsReadInPlace(t *testing.T) {
	src := archive(t, deb{name: "ok", files: map[string]string{"x": "y"}})
	text, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	put(t, src, strings.Replace(string(text), "copy:", "file:", 1))
	_, layer := built(t, Options{Packages: []string{"ok"}, Sources: src, NoShell: true})
	if layer["x"].content != "y" {
		t.Errorf("x = %q", layer["x"].content)
	}
}

func TestWhatAKilledBuildLeftIsDeleted(t *testing.T) {
	src := archive(t, deb{name: "ok", files: map[string]string{"x": "y"}})
	cache := t.TempDir()
	put(t, filepath.Join(cache, "build-1", "layer.tar"), "half")
	first, _ := built(t, Options{Packages: []string{"ok"}, Sources: src, Cache: cache, NoShell: true})
	built(t, Options{Packages: []string{"ok"}, Sources: src, Cache: cache, NoShell: true})
	if _, err := os.Stat(filepath.Join(cache, "build-1")); err == nil {
		t.Error("the killed build's directory is left")
	}
	if _, err := os.Stat(first.Layer); err != nil {
		t.Errorf("a layer in use is gone: %v", err)
	}
}

func TestAptMissingIsSaid(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Build(t.Context(), Options{Name: "web", Packages: []string{"nginx"}, Cache: t.TempDir()})
	if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), "apt-get is not installed") {
		t.Errorf("Build without apt = %v", err)
	}
}
