package merged

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// CopyDir copies what the image has in the directory name into the empty
// directory to, with owners, modes and links. An image without that directory
// leaves to as it is.
func (f FS) CopyDir(name, to string) error {
	real, info, err := f.Resolve(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s in the image is not a directory: %w", name, fs.ErrInvalid)
	}
	if err := like(to, info); err != nil {
		return err
	}
	rel, err := f.inside(real)
	if err != nil {
		return err
	}
	return f.copyInto(rel, to)
}

// inside turns a path on the host back into the image's.
func (f FS) inside(real string) (string, error) {
	for _, layer := range f.Layers {
		if rel, err := filepath.Rel(layer, real); err == nil && filepath.IsLocal(rel) {
			return rel, nil
		}
	}
	return "", fmt.Errorf("%s is in no layer: %w", real, fs.ErrInvalid)
}

func (f FS) copyInto(rel, to string) error {
	for name := range f.names(rel) {
		from := path.Join(rel, name)
		real, info, err := f.lookup(from)
		if errors.Is(err, fs.ErrNotExist) {
			continue // hidden by a whiteout above
		}
		if err != nil {
			return err
		}
		dst := filepath.Join(to, name)
		if err := copyOne(real, dst, info); err != nil {
			return fmt.Errorf("copy %s out of the image: %w", from, err)
		}
		if info.IsDir() {
			if err := f.copyInto(from, dst); err != nil {
				return err
			}
		}
	}
	return nil
}

// names collects the names that any layer has in the directory rel.
func (f FS) names(rel string) map[string]bool {
	names := map[string]bool{}
	for _, layer := range f.Layers {
		entries, err := os.ReadDir(filepath.Join(layer, rel))
		if err != nil {
			continue // not in this layer
		}
		for _, e := range entries {
			names[e.Name()] = true
		}
	}
	return names
}

func copyOne(from, to string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fs.ErrInvalid
	}
	var err error
	switch info.Mode().Type() {
	case fs.ModeDir:
		err = os.Mkdir(to, 0o700)
	case fs.ModeSymlink:
		var target string
		if target, err = os.Readlink(from); err == nil {
			err = os.Symlink(target, to)
		}
	case 0:
		err = copyFile(from, to)
	default:
		err = unix.Mknod(to, st.Mode, int(st.Rdev))
	}
	if err != nil {
		return err
	}
	return like(to, info)
}

func copyFile(from, to string) error {
	src, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// like gives to the owner and the mode of info.
func like(to string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fs.ErrInvalid
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil // a link has no mode of its own
	}
	return unix.Chmod(to, st.Mode&0o7777)
}
