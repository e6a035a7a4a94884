package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/test/need"
)

func needRoot(t *testing.T) {
	t.Helper()
	need.Root(t) // owners, devices and trusted attributes
}

// unpack applies a tar and returns its directory.
func unpack(t *testing.T, s *Store, lowers []string, data []byte) (string, error) {
	t.Helper()
	d := digest.FromBytes(data)
	if err := s.blobs.put(data, ocispec.Descriptor{Digest: d}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return dir, s.Unpack(t.Context(), Layer{Descriptor: ocispec.Descriptor{Digest: d}, DiffID: d}, dir, lowers)
}

func mustUnpack(t *testing.T, s *Store, lowers []string, entries ...tar.Header) string {
	t.Helper()
	dir, err := unpack(t, s, lowers, layer(t, entries...))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// describe says what a path is, in a line.
func describe(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err.Error()
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		return fmt.Sprintf("char %d/%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	case unix.S_IFLNK:
		target, _ := os.Readlink(path)
		return "-> " + target
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFDIR:
		if isOpaque(path) {
			return fmt.Sprintf("opaque %o %d:%d", st.Mode&0o7777, st.Uid, st.Gid)
		}
		return fmt.Sprintf("dir %o %d:%d", st.Mode&0o7777, st.Uid, st.Gid)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("file %o %d:%d %s", st.Mode&0o7777, st.Uid, st.Gid, data)
}

func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

// A layer is unpacked while those below it still are, as far as it says itself
// what it is.
func TestUnpackAheadOfTheLayersBelow(t *testing.T) {
	needRoot(t)
	s := openStore(t, Config{})
	lower := mustUnpack(t, s, nil, tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o711, Uid: 3}, file("old", "1"))
	data := layer(t, directory("etc"), file("etc/motd", "hello"), file("etc/.wh.issue", ""), link("linked", "old"))
	d := digest.FromBytes(data)
	if err := s.blobs.put(data, ocispec.Descriptor{Digest: d}); err != nil {
		t.Fatal(err)
	}
	dir, whole, done := t.TempDir(), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.UnpackAhead(t.Context(), Layer{Descriptor: ocispec.Descriptor{Digest: d}, DiffID: d}, dir, func(context.Context) ([]string, error) {
			<-whole
			return []string{lower}, nil
		})
	}()
	path := filepath.Join(dir, "etc/motd")
	for limit := time.Now().Add(10 * time.Second); describe(t, path) != "file 644 0:0 hello"; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("before the layers below are whole etc/motd is %s", describe(t, path))
		}
	}
	if got := describe(t, filepath.Join(dir, "linked")); got != "no such file or directory" {
		t.Errorf("before the layers below are whole a link into them is %s", got)
	}
	close(whole)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"": "dir 711 3:0", "linked": "file 644 0:0 1", "etc/issue": "char 0/0"} {
		if got := describe(t, filepath.Join(dir, path)); got != want {
			t.Errorf("%q is %s, want %s", path, got, want)
		}
	}
	broken := errors.New("broken")
	err := s.UnpackAhead(t.Context(), Layer{Descriptor: ocispec.Descriptor{Digest: d}, DiffID: d}, t.TempDir(), func(context.Context) ([]string, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("UnpackAhead on layers that failed = %v, want their error", err)
	}
}

func TestUnpackWritesWhatTheLayerSays(t *testing.T) {
	needRoot(t)
	setuid := file("bin/su", "su")
	setuid.Mode, setuid.Uid, setuid.Gid = 0o4755, 7, 8
	private := tar.Header{Typeflag: tar.TypeDir, Name: "home", Mode: 0o1750, Uid: 9, Gid: 9}
	base := []tar.Header{
		private, file("home/a", "below"), directory("home/sub"), file("home/sub/x", "1"),
		directory("usr/"), directory("usr/bin"), symlink("bin", "usr/bin"), symlink("run", "/usr/run"), directory("usr/run"),
	}
	for name, tt := range map[string]struct {
		lower []tar.Header
		upper []tar.Header
		want  map[string]string
	}{
		"owner and setuid bit": {nil, []tar.Header{setuid}, map[string]string{"bin/su": "file 4755 7:8 su"}},
		"devices and pipes": {nil, []tar.Header{
			{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}, {Typeflag: tar.TypeFifo, Name: "pipe"},
		}, map[string]string{"null": "char 1/3", "pipe": "fifo"}},
		"a hard link":                          {nil, []tar.Header{file("a", "1"), link("b", "./a")}, map[string]string{"b": "file 644 0:0 1"}},
		"a hard link to a symbolic link":       {nil, []tar.Header{symlink("a", "x"), link("b", "a")}, map[string]string{"b": "-> x"}},
		"a hard link to a file below":          {base, []tar.Header{link("b", "home/a")}, map[string]string{"b": "file 644 0:0 below", "home/a": "file 644 0:0 below", "home": "dir 1750 9:9"}},
		"a symbolic link may lead anywhere":    {nil, []tar.Header{symlink("a", "/etc/passwd"), symlink("b", "../../x")}, map[string]string{"a": "-> /etc/passwd", "b": "-> ../../x"}},
		"a whiteout":                           {base, []tar.Header{file("home/.wh.a", "")}, map[string]string{"home/a": "char 0/0", "home": "dir 1750 9:9"}},
		"a whiteout in a directory nobody has": {base, []tar.Header{file("nowhere/.wh.a", "")}, map[string]string{"nowhere": "no such file or directory"}},
		"an opaque directory":                  {base, []tar.Header{directory("home"), file("home/.wh..wh..opq", ""), file("home/b", "1")}, map[string]string{"home": "opaque 755 0:0", "home/b": "file 644 0:0 1"}},
		"an opaque mark after the content":     {base, []tar.Header{directory("home"), file("home/b", "1"), file("home/.wh..wh..opq", "")}, map[string]string{"home": "opaque 755 0:0", "home/b": "file 644 0:0 1"}},
		"an opaque root hides name by name":    {base, []tar.Header{file(".wh..wh..opq", ""), file("new", "1")}, map[string]string{"home": "char 0/0", "bin": "char 0/0", "new": "file 644 0:0 1"}},
		"a whiteout and a file of one name":    {base, []tar.Header{file("home/.wh.a", ""), file("home/a", "new")}, map[string]string{"home/a": "file 644 0:0 new"}},
		"a file and then its whiteout":         {base, []tar.Header{file("home/a", "new"), file("home/.wh.a", "")}, map[string]string{"home/a": "file 644 0:0 new"}},
		"a whiteout and a directory":           {base, []tar.Header{file(".wh.home", ""), directory("home")}, map[string]string{"home": "opaque 755 0:0"}},
		"a whiteout and a directory unspoken":  {base, []tar.Header{file(".wh.home", ""), file("home/z", "1")}, map[string]string{"home": "opaque 755 0:0", "home/z": "file 644 0:0 1"}},
		"marks of AUFS mean nothing":           {base, []tar.Header{file(".wh..wh.aufs", ""), directory(".wh..wh.plnk")}, map[string]string{".wh..wh.aufs": "no such file or directory", ".wh.aufs": "no such file or directory"}},
		"a missing parent is as it was below":  {base, []tar.Header{file("home/b", "1")}, map[string]string{"home": "dir 1750 9:9"}},
		"a missing parent that nobody has":     {nil, []tar.Header{file("x/y/z", "1")}, map[string]string{"x": "dir 755 0:0", "x/y": "dir 755 0:0"}},
		"a parent that is a link below":        {base, []tar.Header{file("bin/sh", "1")}, map[string]string{"usr/bin/sh": "file 644 0:0 1", "bin": "no such file or directory"}},
		"a parent that is an absolute one":     {base, []tar.Header{file("run/pid", "1")}, map[string]string{"usr/run/pid": "file 644 0:0 1"}},
		"a directory takes a link's place":     {base, []tar.Header{directory("bin"), file("bin/sh", "1")}, map[string]string{"bin": "dir 755 0:0", "bin/sh": "file 644 0:0 1"}},
		"the later of two entries counts":      {nil, []tar.Header{file("a", "1"), file("a", "2"), directory("d"), file("d/x", "1"), file("d", "file")}, map[string]string{"a": "file 644 0:0 2", "d": "file 644 0:0 file"}},
		"a directory twice keeps its content":  {nil, []tar.Header{directory("d"), file("d/x", "1"), private, {Typeflag: tar.TypeDir, Name: "d", Mode: 0o700}}, map[string]string{"d": "dir 700 0:0", "d/x": "file 644 0:0 1"}},
		"the root's own mode":                  {nil, []tar.Header{{Typeflag: tar.TypeDir, Name: "./", Mode: 0o711, Uid: 3}}, map[string]string{"": "dir 711 3:0"}},
		"the root's mode as it was below":      {[]tar.Header{{Typeflag: tar.TypeDir, Name: "/", Mode: 0o711, Uid: 3}}, []tar.Header{file("a", "1")}, map[string]string{"": "dir 711 3:0"}},
		"a large file":                         {nil, []tar.Header{file("big", strings.Repeat("x", smallFile+1)), link("also", "big")}, map[string]string{"also": "file 644 0:0 " + strings.Repeat("x", smallFile+1)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Config{})
			var lowers []string
			if tt.lower != nil {
				lowers = []string{mustUnpack(t, s, nil, tt.lower...)}
			}
			dir := mustUnpack(t, s, lowers, tt.upper...)
			for path, want := range tt.want {
				if got := describe(t, filepath.Join(dir, path)); got != want {
					t.Errorf("%s is %.80s, want %.80s", path, got, want)
				}
			}
		})
	}
}

func TestUnpackKeepsTimesAndAttributes(t *testing.T) {
	needRoot(t)
	then := time.Unix(1_000_000_000, 0)
	capability := string([]byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // cap_net_bind_service
	ping := file("bin/ping", "x")
	ping.ModTime = then
	ping.PAXRecords = map[string]string{
		paxXattr + "security.capability":    capability,
		paxXattr + "trusted.overlay.opaque": "y",
	}
	bin := directory("bin")
	bin.ModTime = then
	old := symlink("old", "bin")
	old.ModTime = then
	s := openStore(t, Config{})
	dir := mustUnpack(t, s, nil, bin, ping, old, file("bin/later", "1"))
	upper := mustUnpack(t, s, []string{dir}, link("pong", "bin/ping"))
	for _, path := range []string{dir + "/bin", dir + "/bin/ping", dir + "/old", upper + "/bin", upper + "/pong"} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if !info.ModTime().Equal(then) {
			t.Errorf("%s has time %s, want %s", path, info.ModTime(), then)
		}
	}
	for _, path := range []string{dir + "/bin/ping", upper + "/pong"} {
		value := make([]byte, 64)
		n, err := unix.Lgetxattr(path, "security.capability", value)
		if err != nil || string(value[:n]) != capability {
			t.Errorf("%s has capability %q, %v; want %q", path, value[:max(n, 0)], err, capability)
		}
		if isOpaque(path) {
			t.Errorf("%s brought an attribute of overlay's own", path)
		}
	}
}

func TestUnpackRefusesWhatLeadsOutside(t *testing.T) {
	needRoot(t)
	for name, tt := range map[string]struct {
		entries []tar.Header
		want    string
	}{
		"a path with ..":                      {[]tar.Header{file("a/../../evil", "1")}, "a/../../evil"},
		"an absolute path":                    {[]tar.Header{file("/evil", "1")}, "/evil"},
		"a whiteout with ..":                  {[]tar.Header{file("../.wh.evil", "")}, "../.wh.evil"},
		"a whiteout of the parent":            {[]tar.Header{file(".wh...", "")}, ".wh..."},
		"through an absolute symbolic link":   {[]tar.Header{symlink("out", "/tmp"), file("out/evil", "1")}, "out/evil"},
		"through a symbolic link with ..":     {[]tar.Header{directory("d"), symlink("d/out", "../../tmp"), file("d/out/evil", "1")}, "d/out/evil"},
		"a directory through a symbolic link": {[]tar.Header{symlink("out", "/tmp"), directory("out/evil")}, "out/evil"},
		"a whiteout through a symbolic link":  {[]tar.Header{symlink("out", "/tmp"), file("out/.wh.evil", "")}, "out/.wh.evil"},
		"a hard link outside":                 {[]tar.Header{link("evil", "../../etc/passwd")}, "evil"},
		"a hard link to an absolute path":     {[]tar.Header{link("evil", "/etc/passwd")}, "evil"},
		"a hard link through a symbolic link": {[]tar.Header{symlink("out", "/etc"), link("evil", "out/passwd")}, "evil"},
		"a hard link to what is not there":    {[]tar.Header{link("evil", "nothing")}, "evil"},
		"a hard link to a directory":          {[]tar.Header{directory("d"), link("evil", "d")}, "evil"},
		"symbolic links in a circle":          {[]tar.Header{symlink("a", "b"), symlink("b", "a"), file("a/evil", "1")}, "a/evil"},
		"a file as a directory":               {[]tar.Header{file("a", "1"), file("a/evil", "1")}, "a/evil"},
		"a root that is a link":               {[]tar.Header{symlink("./", "/tmp")}, "./"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Config{})
			dir, err := unpack(t, s, nil, layer(t, tt.entries...))
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("entry %q", tt.want)) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Unpack = %v, want one line that names %q", err, tt.want)
			}
			if kind := fault.Of(err); kind != fault.Invalid && kind != fault.Corrupt {
				t.Errorf("Unpack = %v, want it invalid or corrupt", err)
			}
			for _, outside := range []string{"/evil", "/tmp/evil", filepath.Join(filepath.Dir(dir), "evil")} {
				if _, err := os.Lstat(outside); err == nil {
					t.Errorf("%s was written", outside)
				}
			}
		})
	}
}

func TestUnpackChecksContent(t *testing.T) {
	plain := layer(t, file("a", strings.Repeat("hello ", 5000)))
	for name, tt := range map[string]struct {
		blob []byte
		diff digest.Digest
		kind fault.Kind
	}{
		"plain":                  {plain, digest.FromBytes(plain), ""},
		"gzip":                   {gzipped(t, plain), digest.FromBytes(plain), ""},
		"zstd":                   {zstandard(t, plain), digest.FromBytes(plain), ""},
		"gzip in two parts":      {append(gzipped(t, plain[:1000]), gzipped(t, plain[1000:])...), digest.FromBytes(plain), ""},
		"the wrong content":      {plain, digest.FromString("x"), fault.Corrupt},
		"gzip cut off":           {gzipped(t, plain)[:60], digest.FromBytes(plain), fault.Corrupt},
		"zstd cut off":           {zstandard(t, plain)[:30], digest.FromBytes(plain), fault.Corrupt},
		"a tar cut off":          {plain[:2000], digest.FromBytes(plain[:2000]), fault.Corrupt},
		"gzip with a broken sum": {breakEnd(gzipped(t, plain)), digest.FromBytes(plain), fault.Corrupt},
		"not a tar":              {bytes.Repeat([]byte("x"), 2000), digest.FromBytes(bytes.Repeat([]byte("x"), 2000)), fault.Corrupt},
		"nothing":                {nil, digest.FromBytes(nil), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, Config{})
			d := digest.FromBytes(tt.blob)
			if err := s.blobs.put(tt.blob, ocispec.Descriptor{Digest: d}); err != nil {
				t.Fatal(err)
			}
			err := s.Unpack(t.Context(), Layer{Descriptor: ocispec.Descriptor{Digest: d}, DiffID: tt.diff}, t.TempDir(), nil)
			if fault.Of(err) != tt.kind {
				t.Errorf("Unpack = %v (%s), want %s", err, fault.Of(err), tt.kind)
			}
		})
	}
}

func breakEnd(data []byte) []byte {
	data[len(data)-6] ^= 0xff
	return data
}

func TestUnpackOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "256k")
	s := openStore(t, Config{})
	data := layer(t, file("a", strings.Repeat("x", 100<<10)), file("b", strings.Repeat("x", 900<<10)))
	d := digest.FromBytes(data)
	if err := s.blobs.put(data, ocispec.Descriptor{Digest: d}); err != nil {
		t.Fatal(err)
	}
	err := s.Unpack(t.Context(), Layer{Descriptor: ocispec.Descriptor{Digest: d}, DiffID: d}, dir, nil)
	if fault.Of(err) != fault.Exhausted || !strings.Contains(err.Error(), dir) {
		t.Errorf("Unpack = %v, want out of resources with %s", err, dir)
	}
}

// smallDisk mounts a file system of the given size and returns an empty
// directory on it.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mounting is not allowed here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	sub := filepath.Join(dir, "data")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	return sub
}
