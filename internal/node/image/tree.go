package image

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// whiteoutKind is a whiteout in tree.own: a character device, but 0/0.
const whiteoutKind = 0

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// A tree is a layer being written, on top of the layers below it. It knows what
// it has written itself, so that it need not ask the kernel for each parent.
//
// Nothing is opened by a path that could have symbolic links in it: paths are
// resolved here, over all layers, and the kernel is told to refuse any link.
type tree struct {
	root   *os.File
	dirFS  string
	lowers func() ([]string, error) // top first; it may wait until they are whole
	own    map[string]node
	times  map[string]times // of directories; set last, since each new entry changes them
	last   *handle          // the directory used last: entries come directory by directory

	opaqueRoot bool
}

// A node is something this layer has.
type node struct {
	kind   uint32 // unix.S_IF*, or whiteoutKind
	link   string // of a symbolic link
	opaque bool   // of a directory: hides what is below it
}

// A handle is an open directory, shared by those who write into it.
type handle struct {
	path string
	fd   int
	refs atomic.Int32
}

func (h *handle) release() {
	if h.refs.Add(-1) == 0 {
		unix.Close(h.fd)
	}
}

func newTree(dir string, lowers func() ([]string, error)) (*tree, error) {
	root, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &tree{
		root: root, dirFS: dir, lowers: sync.OnceValues(lowers),
		own:   map[string]node{"": {kind: unix.S_IFDIR}},
		times: map[string]times{},
	}, nil
}

func (t *tree) close() {
	if t.last != nil {
		t.last.release()
		t.last = nil
	}
	t.root.Close()
}

// at opens the parent of p, which must be a directory of this layer, and returns
// it with p's last part.
func (t *tree) at(p string) (*handle, string, error) {
	parent, name := path.Split(p)
	h, err := t.open(strings.TrimSuffix(parent, "/"))
	return h, name, err
}

// open opens a directory of this layer.
func (t *tree) open(p string) (*handle, error) {
	if t.last != nil && t.last.path == p {
		t.last.refs.Add(1)
		return t.last, nil
	}
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := retry(func() (int, error) { return unix.Openat2(int(t.root.Fd()), orElse(p, "."), &how) })
	if err != nil {
		return nil, fmt.Errorf("open directory %q: %w", p, err)
	}
	h := &handle{path: p, fd: fd}
	h.refs.Store(2)
	if t.last != nil {
		t.last.release()
	}
	t.last = h
	return h, nil
}

// dir makes the directory p exist in this layer, with the metadata that it has
// below, and returns where it really is: p may lead through symbolic links.
func (t *tree) dir(p string) (string, error) {
	real, _, err := t.walk(p, true)
	return real, err
}

// existing is dir that makes nothing: found tells whether p is a directory in
// this layer or below.
func (t *tree) existing(p string) (real string, found bool, err error) {
	return t.walk(p, false)
}

func (t *tree) walk(p string, make bool) (string, bool, error) {
	rest := splitPath(p)
	real, links := "", 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			real = parentOf(real)
			continue
		}
		next := path.Join(real, part)
		n, own := t.own[next]
		where := ""
		if !own {
			var err error
			if n, where, err = t.below(next); err != nil {
				return "", false, err
			}
		}
		switch {
		case n.kind == unix.S_IFLNK:
			if links++; links > maxLinks {
				return "", false, fmt.Errorf("too many symbolic links: %w", fault.Invalid)
			}
			target, err := inside(real, next, n.link, own)
			if err != nil {
				return "", false, err
			}
			if strings.HasPrefix(n.link, "/") {
				real = ""
			}
			rest = append(target, rest...)
			continue
		case own && n.kind == unix.S_IFDIR:
		case !make && n.kind != unix.S_IFDIR:
			return "", false, nil
		case make:
			if err := t.implied(next, n, own, where); err != nil {
				return "", false, err
			}
		}
		real = next
	}
	return real, true, nil
}

// inside returns the parts of a symbolic link's target. A link of this layer that
// leads out of the image's root is an attack, or as good as one; a link below is
// read as a process in the container would read it.
func inside(dir, link, target string, own bool) ([]string, error) {
	parts := splitPath(target)
	if own && strings.HasPrefix(target, "/") {
		return nil, fmt.Errorf("it leads outside through the symbolic link %q to %q: %w", link, target, fault.Invalid)
	}
	depth := len(splitPath(dir))
	if strings.HasPrefix(target, "/") {
		depth = 0
	}
	for _, part := range parts {
		if part != ".." {
			depth++
		} else if depth--; depth < 0 {
			return nil, fmt.Errorf("it leads outside through the symbolic link %q to %q: %w", link, target, fault.Invalid)
		}
	}
	return parts, nil
}

// implied makes a directory that the layer uses without describing it. n is what
// is there, in this layer or, when where is set, below.
func (t *tree) implied(p string, n node, own bool, where string) error {
	if own {
		if n.kind != whiteoutKind {
			return fmt.Errorf("%q above it is no directory: %w", p, fault.Corrupt)
		}
		if err := t.remove(p); err != nil {
			return err
		}
	}
	at, name, err := t.at(p)
	if err != nil {
		return err
	}
	defer at.release()
	if err := unix.Mkdirat(at.fd, name, 0o755); err != nil {
		return fmt.Errorf("make directory %q: %w", p, err)
	}
	t.own[p] = node{kind: unix.S_IFDIR}
	if n.kind == unix.S_IFDIR && where != "" {
		return t.inherit(p, where)
	}
	// Nothing below may ask for another mode, so ours must not depend on the umask.
	if err := unix.Fchmodat(at.fd, name, 0o755, 0); err != nil {
		return fmt.Errorf("make directory %q: %w", p, err)
	}
	if own && n.kind == whiteoutKind {
		return t.opaque(p)
	}
	return nil
}

// below finds p in the layers below as overlay would show it, and where that is.
// p's parent must be a real directory in the merged view.
func (t *tree) below(p string) (node, string, error) {
	if t.hidden(p) {
		return node{}, "", nil
	}
	parts := splitPath(p)
	lowers, err := t.lowers()
	if err != nil {
		return node{}, "", err
	}
	for _, lower := range lowers {
		n, at, stop, err := look(lower, parts)
		if err != nil || at != "" || stop {
			return n, at, err
		}
	}
	return node{}, "", nil
}

// hidden tells whether this layer hides p in those below.
func (t *tree) hidden(p string) bool {
	if n, own := t.own[p]; own && n.kind == whiteoutKind {
		return true
	}
	for p != "" {
		p = parentOf(p)
		if n, own := t.own[p]; own && (n.opaque || n.kind != unix.S_IFDIR) {
			return true
		}
	}
	return false
}

// look finds a path in one layer below. stop says that layers further down do
// not count.
func look(lower string, parts []string) (n node, where string, stop bool, err error) {
	at := lower
	for i, part := range parts {
		at = filepath.Join(at, part)
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); errors.Is(err, unix.ENOENT) {
			return node{}, "", stop, nil
		} else if err != nil {
			return node{}, "", true, fmt.Errorf("look at %s: %w", at, err)
		}
		kind := st.Mode & unix.S_IFMT
		if kind == unix.S_IFCHR && st.Rdev == 0 {
			return node{}, "", true, nil
		}
		if i == len(parts)-1 {
			n = node{kind: kind}
			if kind == unix.S_IFLNK {
				n.link, err = os.Readlink(at)
			}
			return n, at, true, err
		}
		if kind != unix.S_IFDIR {
			return node{}, "", true, nil
		}
		stop = stop || isOpaque(at)
	}
	return node{}, "", stop, nil
}

// remove deletes p from this layer, with everything in it.
func (t *tree) remove(p string) error {
	if t.last != nil { // it may be p or lie in it
		t.last.release()
		t.last = nil
	}
	if err := os.RemoveAll(filepath.Join(t.dirFS, p)); err != nil {
		return err
	}
	wasDir := t.own[p].kind == unix.S_IFDIR
	delete(t.own, p)
	delete(t.times, p)
	if wasDir {
		inIt := func(other string) bool { return strings.HasPrefix(other, p+"/") }
		maps.DeleteFunc(t.own, func(other string, _ node) bool { return inIt(other) })
		maps.DeleteFunc(t.times, func(other string, _ times) bool { return inIt(other) })
	}
	return nil
}

func splitPath(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}

func parentOf(p string) string {
	return p[:max(strings.LastIndexByte(p, '/'), 0)]
}

// retry repeats a call that a signal interrupted.
func retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return v, err
		}
	}
}
