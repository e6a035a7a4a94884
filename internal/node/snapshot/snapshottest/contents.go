package snapshottest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// capNetBind is the attribute of a file that may bind low ports:
// cap_net_bind_service=ep.
const capNetBind = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

var contents = map[string]func(*testing.T, Opener){
	"upper layers hide lower ones": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("etc/motd", "old"), file("etc/host", "x")))
		commit(t, s, "b", "a", layerOf(file("etc/motd", "new")))
		Mounted(t, prepare(t, s, "c", "b"), func(root string) error {
			return wants(root, map[string]string{"etc/motd": "new", "etc/host": "x"})
		})
	},

	"a whiteout hides a file and an opaque directory what is below it": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("gone", "x"), file("kept", "x"), file("dir/old", "x")))
		commit(t, s, "b", "a", layerOf(whiteout("gone"), opaque("dir"), file("dir/new", "y")))
		want := map[string]string{"gone": "", "kept": "x", "dir/old": "", "dir/new": "y"}
		Mounted(t, prepare(t, s, "c", "b"), func(root string) error { return wants(root, want) })
		v, err := s.View(t.Context(), "v", "b")
		if err != nil {
			t.Fatalf("View: %v", err)
		}
		Mounted(t, v, func(root string) error { return wants(root, want) })
	},

	"writes stay in one filesystem": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("x", "layer"), file("y", "layer")))
		one, two := prepare(t, s, "one", "a"), prepare(t, s, "two", "a")
		Mounted(t, one, func(root string) error {
			return errors.Join(file("x", "mine")(root), os.Remove(filepath.Join(root, "y")), file("z", "mine")(root))
		})
		Mounted(t, two, func(root string) error {
			return wants(root, map[string]string{"x": "layer", "y": "layer", "z": ""})
		})
		Mounted(t, one, func(root string) error { // and are there the next time
			return wants(root, map[string]string{"x": "mine", "y": "", "z": "mine"})
		})
	},

	"a view cannot be written": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("x", "layer")))
		v, err := s.View(t.Context(), "v", "a")
		if err != nil || v.Upper != "" || v.Work != "" {
			t.Fatalf("View = %+v, %v; want no writable part", v, err)
		}
		Mounted(t, v, func(root string) error {
			if err := file("y", "mine")(root); !errors.Is(err, unix.EROFS) {
				return fmt.Errorf("writing = %v, want EROFS", err)
			}
			return wants(root, map[string]string{"x": "layer"})
		})
	},

	"without a parent it is empty": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		Mounted(t, prepare(t, s, "c", ""), func(root string) error {
			names, err := os.ReadDir(root)
			if err != nil || len(names) != 0 {
				return fmt.Errorf("ReadDir = %v, %v; want nothing", names, err)
			}
			return file("x", "mine")(root)
		})
	},

	"hard links stay one file": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("one", "x"), link("one", "two")))
		Mounted(t, prepare(t, s, "c", "a"), func(root string) error {
			one, err1 := os.Stat(filepath.Join(root, "one"))
			two, err2 := os.Stat(filepath.Join(root, "two"))
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			if n := one.Sys().(*syscall.Stat_t).Nlink; !os.SameFile(one, two) || n != 2 {
				return fmt.Errorf("same file: %v, links: %d; want one file with 2", os.SameFile(one, two), n)
			}
			return nil
		})
	},

	"attributes, capabilities, owners and modes are kept, also when a file is copied up": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("bin", "x"), xattr("bin", "security.capability", capNetBind), xattr("bin", "user.who", "me"),
			func(dir string) error { return os.Chown(filepath.Join(dir, "bin"), 7, 8) },
			func(dir string) error { return unix.Chmod(filepath.Join(dir, "bin"), 0o4755) },
			// Chown drops capabilities, as the kernel does for anyone.
			xattr("bin", "security.capability", capNetBind)))
		check := func(path string) error {
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil {
				return err
			}
			if st.Uid != 7 || st.Gid != 8 || st.Mode&0o7777 != 0o4755 {
				return fmt.Errorf("owner %d:%d mode %o, want 7:8 4755", st.Uid, st.Gid, st.Mode&0o7777)
			}
			return errors.Join(wantXattr(path, "user.who", "me"), wantXattr(path, "security.capability", capNetBind))
		}
		Mounted(t, prepare(t, s, "c", "a"), func(root string) error {
			path := filepath.Join(root, "bin")
			if err := check(path); err != nil {
				return err
			}
			if err := xattr("bin", "user.more", "y")(root); err != nil {
				return err
			}
			return check(path)
		})
	},

	"special files are kept": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(
			func(dir string) error { return unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600) },
			func(dir string) error {
				return unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
			},
			func(dir string) error { return os.Symlink("/nowhere", filepath.Join(dir, "link")) }))
		Mounted(t, prepare(t, s, "c", "a"), func(root string) error {
			for name, want := range map[string]fs.FileMode{"pipe": fs.ModeNamedPipe, "null": fs.ModeDevice | fs.ModeCharDevice, "link": fs.ModeSymlink} {
				info, err := os.Lstat(filepath.Join(root, name))
				if err != nil || info.Mode().Type() != want {
					return fmt.Errorf("%s is %v, %v; want %v", name, info, err, want)
				}
			}
			return nil
		})
	},

	"the root directory is as the topmost layer left it": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(
			func(dir string) error { return os.Chown(dir, 5, 6) },
			func(dir string) error { return os.Chmod(dir, 0o711) }, xattr("", "user.root", "yes")))
		commit(t, s, "b", "a", layerOf(file("x", "y")))
		view, err := s.View(t.Context(), "v", "b")
		if err != nil {
			t.Fatalf("View: %v", err)
		}
		for _, m := range []snapshot.Mount{prepare(t, s, "c", "b"), view} {
			Mounted(t, m, func(root string) error {
				var st unix.Stat_t
				if err := unix.Stat(root, &st); err != nil {
					return err
				}
				if st.Uid != 5 || st.Gid != 6 || st.Mode&0o7777 != 0o711 {
					return fmt.Errorf("/ is %d:%d %o, want 5:6 711", st.Uid, st.Gid, st.Mode&0o7777)
				}
				return wantXattr(root, "user.root", "yes")
			})
		}
	},

	"more than a hundred layers fit into one mount": func(t *testing.T, open Opener) {
		const n = 125
		s := fresh(t, open)
		parent, want := "", map[string]string{"top": fmt.Sprint(n)}
		for i := range n {
			key := fmt.Sprintf("sha256:%064d", i)
			commit(t, s, key, parent, layerOf(file(fmt.Sprintf("f%d", i), "x"), file("top", fmt.Sprint(i+1))))
			parent, want[fmt.Sprintf("f%d", i)] = key, "x"
		}
		Mounted(t, prepare(t, s, "c", parent), func(root string) error { return wants(root, want) })
	},
}
