package snapshottest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fill writes one layer.
type fill = func(ctx context.Context, dir string, lowers []string) error

// layerOf is a fill that takes steps in order, each in the layer's directory.
func layerOf(steps ...func(dir string) error) fill {
	return func(_ context.Context, dir string, _ []string) error {
		for _, step := range steps {
			if err := step(dir); err != nil {
				return err
			}
		}
		return nil
	}
}

func file(name, content string) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(content), 0o644)
	}
}

func link(from, to string) func(string) error {
	return func(dir string) error { return os.Link(filepath.Join(dir, from), filepath.Join(dir, to)) }
}

// whiteout is how overlay's own form says that a lower file is gone.
func whiteout(name string) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return unix.Mknod(path, unix.S_IFCHR, 0)
	}
}

func xattr(name, key, value string) func(string) error {
	return func(dir string) error { return unix.Lsetxattr(filepath.Join(dir, name), key, []byte(value), 0) }
}

func opaque(name string) func(string) error {
	return func(dir string) error {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
		return xattr(name, "trusted.overlay.opaque", "y")(dir)
	}
}

// wants checks the files below root: a name with its content, or with "" when
// it must not be there.
func wants(root string, files map[string]string) error {
	var errs []error
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		switch {
		case want == "" && errors.Is(err, fs.ErrNotExist):
		case want == "":
			errs = append(errs, fmt.Errorf("%s is there, want it gone", name))
		case err != nil:
			errs = append(errs, err)
		case string(got) != want:
			errs = append(errs, fmt.Errorf("%s = %q, want %q", name, got, want))
		}
	}
	return errors.Join(errs...)
}

func wantXattr(path, key, want string) error {
	buf := make([]byte, 256)
	n, err := unix.Lgetxattr(path, key, buf)
	if err != nil {
		return fmt.Errorf("attribute %s of %s: %w", key, path, err)
	}
	if !bytes.Equal(buf[:n], []byte(want)) {
		return fmt.Errorf("attribute %s of %s = %q, want %q", key, path, buf[:n], want)
	}
	return nil
}
