package snapshottest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

var lifecycle = map[string]func(*testing.T, Opener){
	"fill is told the layers below, top first": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("is", "a")))
		commit(t, s, "b", "a", layerOf(file("is", "b")))
		commit(t, s, "c", "b", func(_ context.Context, dir string, lowers []string) error {
			var got []string
			for _, l := range lowers {
				is, err := os.ReadFile(filepath.Join(l, "is"))
				if err != nil {
					return err
				}
				got = append(got, string(is))
			}
			if !slices.Equal(got, []string{"b", "a"}) {
				t.Errorf("lowers = %q, want b, a", got)
			}
			names, err := os.ReadDir(dir)
			if err != nil || len(names) != 0 {
				t.Errorf("dir holds %v, %v; want nothing", names, err)
			}
			return nil
		})
	},

	"a committed layer is not filled again": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("x", "y")))
		commit(t, s, "a", "", func(context.Context, string, []string) error {
			t.Error("fill was called for a committed layer")
			return nil
		})
	},

	"a failed layer leaves nothing and can be tried again": func(t *testing.T, open Opener) {
		dir := t.TempDir()
		s, end := open(t, dir)
		defer end()
		broken := errors.New("digest mismatch")
		err := s.Commit(t.Context(), "a", "", layerOf(file("secret", "half"), func(string) error { return broken }))
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "a") {
			t.Errorf("Commit = %v, want the layer's name and %v", err, broken)
		}
		if s.Has(t.Context(), "a") {
			t.Error("Has(a) = true after a failure")
		}
		if left := find(dir, "secret"); left != "" {
			t.Errorf("%s is left", left)
		}
		commit(t, s, "a", "", layerOf(file("x", "y")))
	},

	"a full disk is named as such": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		err := s.Commit(t.Context(), "a", "", func(context.Context, string, []string) error {
			return &os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}
		})
		if fault.Of(err) != fault.Exhausted {
			t.Errorf("Commit on a full disk = %v, want kind %q", err, fault.Exhausted)
		}
	},

	"what is not there is not found": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		_, prepared := s.Prepare(t.Context(), "c", "nope")
		_, viewed := s.View(t.Context(), "c", "nope")
		_, used := s.Usage(t.Context(), "nope")
		committed := s.Commit(t.Context(), "a", "nope", layerOf())
		for call, err := range map[string]error{"Prepare": prepared, "View": viewed, "Usage": used, "Commit": committed} {
			if fault.Of(err) != fault.NotFound || !strings.Contains(err.Error(), "nope") {
				t.Errorf("%s = %v, want a not found that names it", call, err)
			}
		}
	},

	"preparing twice gives the same filesystem": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("x", "y")))
		one, two := prepare(t, s, "c", "a"), prepare(t, s, "c", "a")
		if one.Upper != two.Upper || one.Base != two.Base || !slices.Equal(one.Lower, two.Lower) {
			t.Errorf("Prepare = %+v, then %+v", one, two)
		}
		if _, err := s.Prepare(t.Context(), "c", ""); fault.Of(err) != fault.Exists {
			t.Errorf("Prepare of the name on another layer = %v, want kind %q", err, fault.Exists)
		}
		if _, err := s.View(t.Context(), "c", "a"); fault.Of(err) != fault.Exists {
			t.Errorf("View of the name = %v, want kind %q", err, fault.Exists)
		}
	},

	"a removed filesystem is gone, and its name free": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		Mounted(t, prepare(t, s, "c", ""), file("x", "old"))
		for range 2 {
			if err := s.Remove(t.Context(), "c"); err != nil {
				t.Errorf("Remove = %v", err)
			}
		}
		if _, err := s.Usage(t.Context(), "c"); fault.Of(err) != fault.NotFound {
			t.Errorf("Usage after Remove = %v, want not found", err)
		}
		Mounted(t, prepare(t, s, "c", ""), func(root string) error { return wants(root, map[string]string{"x": ""}) })
	},

	"usage counts what was written, hard links once": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		commit(t, s, "a", "", layerOf(file("big", strings.Repeat("x", 1<<20))))
		m := prepare(t, s, "c", "a")
		before, err := s.Usage(t.Context(), "c")
		if err != nil {
			t.Fatalf("Usage: %v", err)
		}
		Mounted(t, m, func(root string) error {
			return errors.Join(file("new", strings.Repeat("y", 1<<20))(root), link("new", "other")(root))
		})
		after, err := s.Usage(t.Context(), "c")
		if grown := after.Bytes - before.Bytes; err != nil || grown < 1<<20 || grown > 1<<20+1<<16 || after.Inodes != before.Inodes+1 {
			t.Errorf("Usage grew from %+v to %+v, %v; want by 1 MiB and one inode", before, after, err)
		}
	},

	"everything is there after a restart": func(t *testing.T, open Opener) {
		dir := t.TempDir()
		s, restart := open(t, dir)
		commit(t, s, "a", "", layerOf(file("x", "layer")))
		commit(t, s, "b", "a", layerOf(file("y", "layer")))
		before := prepare(t, s, "c", "b")
		Mounted(t, before, file("z", "mine"))
		prepare(t, s, "gone", "b")
		if err := s.Remove(t.Context(), "gone"); err != nil {
			t.Fatalf("Remove: %v", err)
		}
		restart()
		s, end := open(t, dir)
		defer end()
		if !s.Has(t.Context(), "a") || !s.Has(t.Context(), "b") {
			t.Errorf("Has(a), Has(b) = %v, %v", s.Has(t.Context(), "a"), s.Has(t.Context(), "b"))
		}
		after := prepare(t, s, "c", "b")
		if before.Upper != after.Upper || !slices.Equal(before.Lower, after.Lower) {
			t.Errorf("Prepare = %+v, before the restart %+v", after, before)
		}
		Mounted(t, after, func(root string) error {
			return wants(root, map[string]string{"x": "layer", "y": "layer", "z": "mine"})
		})
		if _, err := s.Usage(t.Context(), "gone"); fault.Of(err) != fault.NotFound {
			t.Errorf("Usage of a removed one = %v, want not found", err)
		}
	},

	"collection keeps what is named and what is stood on": func(t *testing.T, open Opener) {
		s := fresh(t, open)
		big := layerOf(file("x", strings.Repeat("x", 1<<16)))
		for key, parent := range map[string]string{"a": "", "named": "", "idle": ""} {
			commit(t, s, key, parent, big)
		}
		for _, l := range [][2]string{{"b", "a"}, {"c", "b"}, {"above", "named"}, {"idle2", "idle"}} {
			commit(t, s, l[0], l[1], big)
		}
		prepare(t, s, "m", "b")
		freed, err := s.Collect(t.Context(), map[string]bool{"above": true, "idle2": false})
		if err != nil || freed < 3<<16 {
			t.Errorf("Collect = %d, %v; want three layers of 64 KiB", freed, err)
		}
		for key, want := range map[string]bool{"a": true, "b": true, "c": false, "named": true, "above": true, "idle": false, "idle2": false} {
			if got := s.Has(t.Context(), key); got != want {
				t.Errorf("Has(%s) = %v, want %v", key, got, want)
			}
		}
		Mounted(t, prepare(t, s, "m", "b"), func(root string) error {
			return wants(root, map[string]string{"x": strings.Repeat("x", 1<<16)})
		})
		commit(t, s, "idle", "", layerOf(file("again", "y")))
	},
}

// find returns the path of a file below dir, or nothing.
func find(dir, name string) (path string) {
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == name {
			path = p
		}
		return nil
	})
	return path
}
