package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// The names by which a layer says that something below it is gone.
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // other marks of AUFS, which mean nothing here
)

// An applier writes the entries of one layer. Everything happens in the order of
// the tar, but the content of small files: other goroutines write that, and
// settle waits for them where the order matters.
type applier struct {
	tree  *tree
	files *files
}

// entryPath returns an entry's path relative to the layer's root. A name that
// could mean a place outside is refused and not bent: who wrote it meant harm or
// made a mistake, and either should show.
func entryPath(name string) (string, error) {
	if strings.HasPrefix(name, "/") && path.Clean(name) != "/" {
		return "", fmt.Errorf("its path is absolute, a layer's paths are relative to the image's root: %w", fault.Invalid)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("its path leads out of the image with ..: %w", fault.Invalid)
		}
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

func (a *applier) entry(hdr *tar.Header, r io.Reader) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil // git archive writes them; they describe no file
	}
	p, err := entryPath(hdr.Name)
	if err != nil {
		return err
	}
	if p == "" {
		if hdr.Typeflag != tar.TypeDir {
			return fmt.Errorf("the image's root must be a directory: %w", fault.Corrupt)
		}
		return a.tree.describe("", hdr)
	}
	parent, base := path.Split(p)
	parent = strings.TrimSuffix(parent, "/")
	if strings.HasPrefix(base, whiteoutPrefix) {
		return a.whiteout(parent, base)
	}
	if parent, err = a.tree.dir(parent); err != nil {
		return err
	}
	return a.create(path.Join(parent, base), hdr, r)
}

// whiteout hides what the layers below have under a name.
func (a *applier) whiteout(parent, base string) error {
	parent, found, err := a.tree.existing(parent)
	if err != nil || !found {
		return err // what is not there need not be hidden
	}
	switch {
	case base == opaqueMarker:
		return a.tree.opaque(parent)
	case strings.HasPrefix(base, aufsPrefix):
		return nil
	}
	base = strings.TrimPrefix(base, whiteoutPrefix)
	if base == "" || base == "." || base == ".." {
		return fmt.Errorf("a whiteout without a name: %w", fault.Corrupt)
	}
	if parent, err = a.tree.dir(parent); err != nil {
		return err
	}
	return a.tree.whiteout(path.Join(parent, base))
}

// create makes p, whose parent is a directory of this layer. An earlier entry of
// the same path gives way, except a directory to a directory.
func (a *applier) create(p string, hdr *tar.Header, r io.Reader) error {
	old, again := a.tree.own[p]
	if again && old.kind == unix.S_IFDIR && hdr.Typeflag == tar.TypeDir {
		return a.tree.describe(p, hdr)
	}
	if again {
		if err := a.files.settle(); err != nil {
			return err
		}
		if err := a.tree.remove(p); err != nil {
			return err
		}
	}
	at, name, err := a.tree.at(p)
	if err != nil {
		return err
	}
	defer at.release()
	switch hdr.Typeflag {
	case tar.TypeDir:
		err = a.directory(p, at, name, hdr, again && old.kind == whiteoutKind)
	case tar.TypeReg, tar.TypeGNUSparse:
		a.tree.own[p] = node{kind: unix.S_IFREG}
		return a.files.write(at, name, hdr, r)
	case tar.TypeSymlink:
		a.tree.own[p] = node{kind: unix.S_IFLNK, link: hdr.Linkname}
		if err = unix.Symlinkat(hdr.Linkname, at.fd, name); err == nil {
			err = setMeta(at, name, hdr)
		}
	case tar.TypeLink:
		return a.hardlink(p, at, name, hdr)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		err = a.special(p, at, name, hdr)
	default:
		return fmt.Errorf("entry type %q: %w", hdr.Typeflag, fault.Unsupported)
	}
	return err
}

func (a *applier) directory(p string, at *handle, name string, hdr *tar.Header, hidden bool) error {
	if err := unix.Mkdirat(at.fd, name, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	a.tree.own[p] = node{kind: unix.S_IFDIR}
	if hidden { // the whiteout that it takes the place of must not be lost
		if err := a.tree.opaque(p); err != nil {
			return err
		}
	}
	return a.tree.describe(p, hdr)
}

func (a *applier) special(p string, at *handle, name string, hdr *tar.Header) error {
	kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[hdr.Typeflag]
	device := unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor))
	if err := unix.Mknodat(at.fd, name, kind|0o600, int(device)); err != nil {
		return fmt.Errorf("make device: %w", err)
	}
	a.tree.own[p] = node{kind: kind}
	return setMeta(at, name, hdr)
}

// hardlink links p to another path of the image. A file that only the layers
// below have is copied up first, as overlay does.
func (a *applier) hardlink(p string, at *handle, name string, hdr *tar.Header) error {
	target, err := entryPath(hdr.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", hdr.Linkname, err)
	}
	parent, base := path.Split(target)
	parent, found, err := a.tree.existing(strings.TrimSuffix(parent, "/"))
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", hdr.Linkname, err)
	}
	target = path.Join(parent, base)
	if !found || target == p {
		return fmt.Errorf("hard link to %q, which is not in the image: %w", hdr.Linkname, fault.Corrupt)
	}
	if err := a.files.settle(); err != nil { // its target may still be on the way
		return err
	}
	own, ok := a.tree.own[target]
	if !ok {
		if own, err = a.tree.copyUp(target); err != nil {
			return fmt.Errorf("hard link to %q: %w", hdr.Linkname, err)
		}
	}
	if own.kind == unix.S_IFDIR || own.kind == whiteoutKind {
		return fmt.Errorf("hard link to %q, which is no file: %w", hdr.Linkname, fault.Corrupt)
	}
	from, fromName, err := a.tree.at(target)
	if err != nil {
		return err
	}
	defer from.release()
	if err := unix.Linkat(from.fd, fromName, at.fd, name, 0); err != nil {
		if errors.Is(err, unix.EMLINK) {
			return fmt.Errorf("hard link to %q: the file system allows no more links to it: %w", hdr.Linkname, fault.Unsupported)
		}
		return fmt.Errorf("hard link to %q: %w", hdr.Linkname, err)
	}
	a.tree.own[p] = own
	return nil
}
