package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// describe gives a directory of this layer the metadata of its entry.
func (t *tree) describe(p string, hdr *tar.Header) error {
	h, err := t.open(p)
	if err != nil {
		return err
	}
	defer h.release()
	t.times[p] = timesOf(hdr)
	return setMetaFD(h.fd, hdr)
}

// inherit gives a directory of this layer the metadata of one below.
func (t *tree) inherit(p, from string) error {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return fmt.Errorf("look at %s: %w", from, err)
	}
	h, err := t.open(p)
	if err != nil {
		return err
	}
	defer h.release()
	if err := copyMeta(from, &st, h.fd); err != nil {
		return err
	}
	t.times[p] = statTimes(&st)
	return nil
}

func copyMeta(from string, st *unix.Stat_t, fd int) error {
	if err := unix.Fchown(fd, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if err := unix.Fchmod(fd, st.Mode&0o7777); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	return copyXattrs(from, fd)
}

func statTimes(st *unix.Stat_t) times {
	return times{time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix())}
}

// opaque hides everything that the layers below have in a directory.
func (t *tree) opaque(p string) error {
	if p == "" {
		// Overlay ignores the mark on the root; finish hides name by name.
		t.opaqueRoot = true
		return nil
	}
	p, err := t.dir(p)
	if err != nil {
		return err
	}
	h, err := t.open(p)
	if err != nil {
		return err
	}
	defer h.release()
	if err := unix.Fsetxattr(h.fd, opaqueXattr, []byte("y"), 0); err != nil {
		return fmt.Errorf("mark %q opaque: %w", p, err)
	}
	n := t.own[p]
	n.opaque = true
	t.own[p] = n
	return nil
}

// whiteout hides p in the layers below. It says nothing about this layer: what
// that has at p stays, and hides what is below by itself, unless both are
// directories.
func (t *tree) whiteout(p string) error {
	if n, own := t.own[p]; own {
		if n.kind == unix.S_IFDIR {
			return t.opaque(p)
		}
		return nil
	}
	at, name, err := t.at(p)
	if err != nil {
		return err
	}
	defer at.release()
	if err := unix.Mknodat(at.fd, name, unix.S_IFCHR, 0); err != nil {
		return fmt.Errorf("make whiteout: %w", err)
	}
	t.own[p] = node{kind: whiteoutKind}
	return nil
}

// finish sets what must come last.
func (t *tree) finish() error {
	if _, described := t.times[""]; !described {
		if err := t.undescribedRoot(); err != nil {
			return err
		}
	}
	if t.opaqueRoot {
		if err := t.hideRoot(); err != nil {
			return err
		}
	}
	for p, when := range t.times {
		if err := when.set(int(t.root.Fd()), orElse(p, ".")); err != nil {
			return fmt.Errorf("set times of %q: %w", p, err)
		}
	}
	return nil
}

// undescribedRoot makes the root what it is below: the top layer's is the root of
// all, and a layer that does not mention it must not change it.
func (t *tree) undescribedRoot() error {
	lowers, err := t.lowers()
	if err != nil {
		return err
	}
	if len(lowers) > 0 {
		return t.inherit("", lowers[0])
	}
	return unix.Fchmod(int(t.root.Fd()), 0o755)
}

// hideRoot hides whatever the layers below have in the root.
func (t *tree) hideRoot() error {
	lowers, err := t.lowers()
	if err != nil {
		return err
	}
	for _, lower := range lowers {
		entries, err := os.ReadDir(lower)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if err := t.whiteout(entry.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyUp brings a file of the layers below into this one.
func (t *tree) copyUp(p string) (node, error) {
	n, from, err := t.below(p)
	if err != nil {
		return n, err
	}
	switch n.kind {
	case 0:
		return n, fmt.Errorf("it is not in the image: %w", fault.Corrupt)
	case unix.S_IFDIR:
		return n, fmt.Errorf("it is a directory: %w", fault.Corrupt)
	}
	parent, err := t.dir(parentOf(p))
	if err != nil {
		return n, err
	}
	at, name, err := t.at(path.Join(parent, path.Base(p)))
	if err != nil {
		return n, err
	}
	defer at.release()
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return n, fmt.Errorf("look at %s: %w", from, err)
	}
	if n.kind == unix.S_IFREG {
		err = copyFile(from, &st, at, name)
	} else {
		err = copySpecial(n, from, &st, at, name)
	}
	if err != nil {
		return n, fmt.Errorf("copy %s: %w", from, err)
	}
	t.own[p] = n
	return n, statTimes(&st).set(at.fd, name)
}

func copyFile(from string, st *unix.Stat_t, at *handle, name string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := createFile(at, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil { // by copy_file_range where it can
		return err
	}
	return copyMeta(from, st, int(out.Fd()))
}

func copySpecial(n node, from string, st *unix.Stat_t, at *handle, name string) error {
	var err error
	if n.kind == unix.S_IFLNK {
		err = unix.Symlinkat(n.link, at.fd, name)
	} else {
		err = unix.Mknodat(at.fd, name, st.Mode, int(st.Rdev))
	}
	if err != nil {
		return err
	}
	if err := unix.Fchownat(at.fd, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil || n.kind == unix.S_IFLNK {
		return err
	}
	return unix.Fchmodat(at.fd, name, st.Mode&0o7777, 0)
}
