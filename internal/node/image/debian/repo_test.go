package debian

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/test/need"
)

// deb is a package made for a test.
type deb struct {
	name, version, depends string
	files                  map[string]string // content by path; "-> x" is a symbolic link to x, "" a directory
	postinst               string
}

// archive makes an apt repository of packages in a directory and returns the
// sources file that leads to it.
func archive(t *testing.T, debs ...deb) (sources string) {
	t.Helper()
	need.Command(t, "apt-get", "dpkg-deb")
	dir := t.TempDir()
	var index strings.Builder
	for _, d := range append(debs,
		deb{name: "base-files", files: map[string]string{"usr/lib/os-release": "ID=test\n", "etc/os-release": "-> ../usr/lib/os-release"}},
		deb{name: "base-passwd", files: map[string]string{
			"usr/sbin/update-passwd":              "x",
			"usr/share/base-passwd/passwd.master": "root:*:0:0:root:/root:/bin/bash\nwww-data:*:33:33:www-data:/var/www:/usr/sbin/nologin\n",
			"usr/share/base-passwd/group.master":  "root:*:0:\nadm:*:4:\nwww-data:*:33:\nnogroup:*:65534:\n"}}) {
		index.WriteString(d.build(t, dir))
	}
	put(t, filepath.Join(dir, "Packages"), index.String())
	sources = filepath.Join(dir, "sources.list")
	put(t, sources, fmt.Sprintf("deb [trusted=yes] copy:%s ./\n", dir))
	return sources
}

// build makes the .deb and returns its paragraph of the index.
func (d deb) build(t *testing.T, dir string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), d.name)
	for name, content := range d.files {
		path := filepath.Join(root, name)
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			os.MkdirAll(filepath.Dir(path), 0o755)
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if content == "" {
			os.MkdirAll(path, 0o755)
			continue
		}
		put(t, path, content)
	}
	if d.version == "" {
		d.version = "1"
	}
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: test\n", d.name, d.version)
	if d.depends != "" {
		control += "Depends: " + d.depends + "\n"
	}
	put(t, filepath.Join(root, "DEBIAN/control"), control)
	if d.postinst != "" {
		put(t, filepath.Join(root, "DEBIAN/postinst"), d.postinst)
		if err := os.Chmod(filepath.Join(root, "DEBIAN/postinst"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	name := d.name + "_all.deb" // a real archive leaves the epoch out
	cmd := exec.Command("dpkg-deb", "--root-owner-group", "--build", root, filepath.Join(dir, name))
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n", control, name, len(data), sha256.Sum256(data))
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
