// Package merged reads an image's filesystem out of its layers without
// mounting it.
//
// Layers are directories in overlay's own form: a character device 0:0 hides
// what lies below it, and a directory with the xattr trusted.overlay.opaque
// hides the same directory below. Symbolic links are resolved within the image:
// a link to /etc/shadow in a layer never reaches the host's.
package merged

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// FS is an image's filesystem. Layers are its directories, top first.
type FS struct {
	Layers []string
}

// maxLinks is the kernel's own limit on symbolic links in one path.
const maxLinks = 40

// maxFile bounds what ReadFile reads: an image's author decides how large its
// files are.
const maxFile = 16 << 20

// ReadFile returns the content of a regular file of the image.
func (f FS) ReadFile(name string) ([]byte, error) {
	real, info, err := f.Resolve(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s in the image is not a regular file: %w", name, fs.ErrInvalid)
	}
	// Resolve has looked at each component; O_NOFOLLOW guards the last.
	file, err := os.OpenFile(real, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s in the image is larger than %d bytes: %w", name, maxFile, fs.ErrInvalid)
	}
	return b, err
}

// Resolve follows name through the layers and returns where on the host the
// file lies that the image shows there.
func (f FS) Resolve(name string) (real string, info fs.FileInfo, err error) {
	defer func() {
		if err != nil {
			real, info, err = "", nil, fmt.Errorf("%s in the image: %w", name, err)
		}
	}()
	todo := split(name)
	at, links := "", 0 // the directory reached so far, as the image names it
	for len(todo) > 0 {
		var part string
		part, todo = todo[0], todo[1:]
		if part == ".." {
			if at = path.Dir(at); at == "." {
				at = ""
			}
			continue
		}
		next := path.Join(at, part)
		found, its, err := f.lookup(next)
		if err != nil {
			return "", nil, err
		}
		if its.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("too many symbolic links: %w", fs.ErrInvalid)
		}
		target, err := os.Readlink(found)
		if err != nil {
			return "", nil, err
		}
		if path.IsAbs(target) {
			at = ""
		}
		todo = append(split(target), todo...)
	}
	return f.lookup(orDot(at))
}

// lookup finds rel, whose parents are known not to be links, in the highest
// layer that has it, unless a layer above hides it.
func (f FS) lookup(rel string) (string, fs.FileInfo, error) {
	for _, layer := range f.Layers {
		real := filepath.Join(layer, rel)
		info, err := os.Lstat(real)
		switch {
		case err == nil && whiteout(info):
			return "", nil, fs.ErrNotExist
		case err == nil:
			return real, info, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR):
			return "", nil, err
		}
		if hidesBelow(layer, rel) {
			return "", nil, fs.ErrNotExist
		}
	}
	return "", nil, fs.ErrNotExist
}

// hidesBelow tells whether layer has a parent of rel that is a whiteout, an
// opaque directory or no directory at all.
func hidesBelow(layer, rel string) bool {
	for dir := path.Dir(rel); dir != "."; dir = path.Dir(dir) {
		real := filepath.Join(layer, dir)
		info, err := os.Lstat(real)
		if err != nil {
			continue
		}
		if !info.IsDir() || opaque(real) {
			return true
		}
	}
	return false
}

func whiteout(info fs.FileInfo) bool {
	if info.Mode()&fs.ModeCharDevice == 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Rdev == 0
}

func opaque(dir string) bool {
	var b [1]byte
	n, err := unix.Lgetxattr(dir, "trusted.overlay.opaque", b[:])
	return err == nil && n == 1 && b[0] == 'y'
}

func split(name string) []string {
	var parts []string
	for p := range strings.SplitSeq(name, "/") {
		if p != "" && p != "." {
			parts = append(parts, p)
		}
	}
	return parts
}

func orDot(at string) string {
	if at == "" {
		return "."
	}
	return at
}
