package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// dpkg runs dpkg-deb and returns its output.
func dpkg(ctx context.Context, args ...string) ([]byte, error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "dpkg-deb", args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-deb: %s (%w): %w", strings.TrimSpace(said.String()), err, fault.Corrupt)
	}
	return out, nil
}

// unpack lays the files of a .deb that keep wants into t.
func (t *tree) unpack(ctx context.Context, file string, keep func(name string) bool) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file)
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = t.addAll(tar.NewReader(out), keep)
	if err != nil {
		cmd.Process.Kill() // it may be blocked on the pipe
	}
	ended := cmd.Wait()
	if err == nil && ended != nil {
		err = fmt.Errorf("dpkg-deb: %s (%w): %w", strings.TrimSpace(said.String()), ended, fault.Corrupt)
	}
	return err
}

func (t *tree) addAll(r *tar.Reader, keep func(string) bool) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		h.Name = clean(h.Name)
		if h.Typeflag == tar.TypeLink {
			h.Linkname = clean(h.Linkname)
		}
		if h.Name == "" || !keep(h.Name) {
			continue
		}
		if err := t.add(*h, r); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// clean makes a path relative to the root, whatever it tries.
func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// documentation is left out of images unless asked for; copyright files stay,
// as their licences demand.
var documentation = []string{
	"usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/",
	"usr/share/bug/", "usr/share/doc-base/", "usr/share/linda/", "usr/share/gtk-doc/", "usr/share/help/",
}

// keeps tells which files of a package go into an image.
func keeps(pkg string, docs bool) func(name string) bool {
	return func(name string) bool {
		if pkg == "base-passwd" {
			return strings.HasPrefix(name, "usr/share/base-passwd/")
		}
		if docs {
			return true
		}
		for _, dir := range documentation {
			if strings.HasPrefix(name+"/", dir) {
				return path.Base(name) == "copyright" && path.Dir(path.Dir(name)) == "usr/share/doc"
			}
		}
		return true
	}
}
