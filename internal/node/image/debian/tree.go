package debian

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// tree is the image's filesystem while it is put together. Headers are in
// memory, contents in one file, so that nothing has to be owned or made on the
// building machine.
type tree struct {
	nodes  map[string]*node
	spool  *os.File
	used   int64 // bytes of spool
	newest time.Time
	err    error // the first failure of dir or link
}

type node struct {
	tar.Header
	at   int64 // where the content begins in the spool
	prio int   // of an alternative
}

func newTree(dir string) (*tree, error) {
	f, err := os.CreateTemp(dir, "contents-")
	if err != nil {
		return nil, err
	}
	return &tree{nodes: make(map[string]*node), spool: f}, nil
}

// close lets go of the contents.
func (t *tree) close() error { return errors.Join(t.spool.Close(), os.Remove(t.spool.Name())) }

// add puts an entry at its name. Symbolic links in the way are followed, which
// is how /bin/sh comes to lie in /usr/bin; a directory over a link to one is
// the link.
func (t *tree) add(h tar.Header, content io.Reader) error {
	name, err := t.resolve(h.Name)
	if err != nil {
		return err
	}
	old := t.nodes[name]
	if h.Typeflag == tar.TypeDir && old != nil && old.Typeflag == tar.TypeSymlink {
		return nil
	}
	if old != nil && old.Typeflag == tar.TypeDir && h.Typeflag != tar.TypeDir {
		return nil // dpkg does not replace a directory either
	}
	n := &node{Header: tar.Header{
		Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Mode: h.Mode & 0o7777,
		Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime.Truncate(time.Second),
	}, at: t.used}
	switch h.Typeflag {
	case tar.TypeReg:
		if n.Size, err = io.Copy(t.spool, content); err != nil {
			return fmt.Errorf("write contents: %w", err)
		}
		t.used += n.Size
	case tar.TypeLink:
		if n.Linkname, err = t.resolve(h.Linkname); err != nil {
			return err
		}
	case tar.TypeDir, tar.TypeSymlink:
	default:
		return fmt.Errorf("file of type %q in a package: %w", h.Typeflag, fault.Unsupported)
	}
	t.nodes[name] = n
	if n.ModTime.After(t.newest) {
		t.newest = n.ModTime
	}
	return nil
}

// resolve follows the symbolic links among a name's directories.
func (t *tree) resolve(name string) (string, error) {
	done, rest := "", clean(name)
	for range 40 {
		var first string
		var more bool
		first, rest, more = strings.Cut(rest, "/")
		here := path.Join(done, first)
		if !more {
			return here, nil
		}
		if n := t.nodes[here]; n != nil && n.Typeflag == tar.TypeSymlink {
			target := n.Linkname
			if !path.IsAbs(target) {
				target = path.Join("/", done, target)
			}
			done, rest = "", clean(path.Join(target, rest))
			continue
		}
		done = here
	}
	return "", fmt.Errorf("%s: too many directories or links: %w", name, fault.Invalid)
}

// find returns what is at a name, or nil.
func (t *tree) find(name string) *node {
	at, err := t.resolve(name)
	if err != nil {
		return nil
	}
	return t.nodes[at]
}

// names lists what is below a directory, sorted.
func (t *tree) names(dir string) (found []string) {
	for name := range t.nodes {
		if strings.HasPrefix(name, dir+"/") {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// read returns a regular file's content, or nothing.
func (t *tree) read(name string) ([]byte, error) {
	n := t.find(name)
	if n == nil || n.Typeflag != tar.TypeReg {
		return nil, nil
	}
	data := make([]byte, n.Size)
	_, err := t.spool.ReadAt(data, n.at)
	return data, err
}

// write makes the layer's tar: sorted, with every directory, no file newer than
// epoch.
func (t *tree) write(ctx context.Context, file string, epoch time.Time) (digest.Digest, int64, error) {
	if t.err != nil {
		return "", 0, t.err
	}
	for _, name := range slices.Collect(maps.Keys(t.nodes)) {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if t.nodes[dir] == nil {
				t.nodes[dir] = &node{Header: tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}}
			}
		}
	}
	f, err := os.Create(filepath.Clean(file))
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	sum := digest.SHA256.Digester()
	w := tar.NewWriter(io.MultiWriter(f, sum.Hash()))
	for _, n := range t.sorted() {
		if err := ctx.Err(); err != nil {
			return "", 0, err
		}
		h := n.Header
		if h.ModTime.IsZero() || h.ModTime.After(epoch) {
			h.ModTime = epoch
		}
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if err := w.WriteHeader(&h); err != nil {
			return "", 0, fmt.Errorf("write layer: %s: %w", n.Name, err)
		}
		if _, err := io.Copy(w, io.NewSectionReader(t.spool, n.at, h.Size)); err != nil {
			return "", 0, fmt.Errorf("write layer: %s: %w", n.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return "", 0, fmt.Errorf("write layer: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	return sum.Digest(), info.Size(), f.Close()
}

// sorted lists all nodes by name, hard links last: their target must be there.
func (t *tree) sorted() []*node {
	return slices.SortedFunc(maps.Values(t.nodes), func(a, b *node) int {
		if la, lb := a.Typeflag == tar.TypeLink, b.Typeflag == tar.TypeLink; la != lb {
			if la {
				return 1
			}
			return -1
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// dir, link and text put entries that no package brings; their time is the
// image's. A failure of the first two shows in write.
func (t *tree) dir(name string, mode int64, uid, gid int) {
	err := t.add(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, Uid: uid, Gid: gid}, nil)
	t.err = cmp.Or(t.err, err)
}

func (t *tree) link(name, target string) {
	err := t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
	t.err = cmp.Or(t.err, err)
}

func (t *tree) text(name, content string) error {
	return t.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, strings.NewReader(content))
}
