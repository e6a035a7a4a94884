package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/sampan-cloud/sampan/internal/node/container"
)

func openTestRecords(t *testing.T) *records {
	t.Helper()
	r, err := openRecords(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Whatever a killed process or a full disk has left of a line, the one before
// counts, and so does the next.
func TestALineThatIsNotWholeWasNeverWritten(t *testing.T) {
	first, second := &Pod{ID: "a", State: PodReady}, &Pod{ID: "a", State: PodNotReady}
	text, err := textOf(line{kind: podLine, value: second})
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(text) - 1 { // the last byte only ends the line
		r := openTestRecords(t)
		if err := r.newPod(first); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(r.file("a"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(text[:cut])
		f.Close()
		pods, _, broken, err := r.load()
		if err != nil || len(broken) > 0 || len(pods) != 1 || pods[0].State != PodReady {
			t.Fatalf("after %q: %v, broken %q, %v; want the record from before", text[:cut], pods, broken, err)
		}
		if err := r.savePod(second); err != nil {
			t.Fatal(err)
		}
		if pods, _, _, _ := r.load(); len(pods) != 1 || pods[0].State != PodNotReady {
			t.Fatalf("after %q and another line: %v; want that line's", text[:cut], pods)
		}
	}
}

func TestAPodWithoutAWholeLineIsBroken(t *testing.T) {
	r := openTestRecords(t)
	text, err := textOf(line{kind: podLine, value: &Pod{ID: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty": nil, "cut": text[:len(text)-2], "zeros": make([]byte, 100), "other": []byte("container a {}\n"),
	} {
		if err := os.WriteFile(r.file(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(r.file("directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A file that was being shortened.
	if err := os.WriteFile(r.file(".a"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	pods, containers, broken, err := r.load()
	want := []string{"cut", "directory", "empty", "other", "zeros"}
	if err != nil || len(pods)+len(containers) > 0 || !slices.Equal(broken, want) {
		t.Errorf("load() = %v, %v, %q, %v; want nothing and %q broken", pods, containers, broken, err, want)
	}
	if _, err := os.Lstat(r.file(".a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what shortening has left is still there: %v", err)
	}
}

func TestAPodsFileHasItsContainers(t *testing.T) {
	r := openTestRecords(t)
	// A name may contain what begins a line.
	if err := r.newPod(&Pod{ID: "p", Config: PodConfig{Name: "\ncontainer x {}\n"}}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		if err := r.newContainer(&Container{ID: id, PodID: "p"}, &container.Spec{ID: id, Log: "/" + id}); err != nil {
			t.Fatal(err)
		}
	}
	b := &Container{ID: "b", PodID: "p", Code: 7}
	for range 2 {
		if err := errors.Join(r.dropContainer(&Container{ID: "a", PodID: "p"}), r.saveContainer(b)); err != nil {
			t.Fatal(err)
		}
	}
	// An exit that was on its way when the container was removed.
	if err := r.saveContainer(&Container{ID: "a", PodID: "p"}); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		_, all, _, err := r.load()
		if err != nil || len(all) != 2 || all[0].ID != "b" || all[0].Code != 7 || all[1].ID != "c" {
			t.Errorf("load() = %v, %v; want b with its change, and c", all, err)
		}
		for _, id := range []string{"b", "c"} {
			if s, err := r.loadSpec(&Container{ID: id, PodID: "p"}); err != nil || s.Log != "/"+id {
				t.Errorf("loadSpec(%s) = %v, %v", id, s, err)
			}
		}
	}
	check()
	if err := r.shorten("p"); err != nil {
		t.Fatal(err)
	}
	check()
	if text, err := os.ReadFile(r.file("p")); err != nil || bytes.Contains(text, []byte("container a")) {
		t.Errorf("what is gone is still in %q, %v", text, err)
	}
}

func TestAPodWhoseContainersComeAndGoStaysShort(t *testing.T) {
	r := openTestRecords(t)
	if err := r.newPod(&Pod{ID: "p"}); err != nil {
		t.Fatal(err)
	}
	long := &container.Spec{Log: string(bytes.Repeat([]byte("x"), 10<<10))}
	var longest int64
	for n := range 200 {
		c := &Container{ID: fmt.Sprint(n), PodID: "p"}
		long.ID = c.ID
		if err := errors.Join(r.newContainer(c, long), r.saveContainer(c)); err != nil {
			t.Fatal(err)
		}
		if n >= 50 { // so many stay
			if err := r.dropContainer(&Container{ID: fmt.Sprint(n - 50), PodID: "p"}); err != nil {
				t.Fatal(err)
			}
		}
		info, err := os.Stat(r.file("p"))
		if err != nil {
			t.Fatal(err)
		}
		longest = max(longest, info.Size())
	}
	if longest > 3*50*10<<10 {
		t.Errorf("the file of 50 containers of 10 KiB grew to %d bytes", longest)
	}
	if _, all, _, err := r.load(); err != nil || len(all) != 50 {
		t.Errorf("load() found %d containers, %v; want 50", len(all), err)
	}
}

func TestARemovedPodStaysAway(t *testing.T) {
	r := openTestRecords(t)
	if err := r.newPod(&Pod{ID: "p"}); err != nil {
		t.Fatal(err)
	}
	c := &Container{ID: "a", PodID: "p"}
	for range 2 {
		if err := errors.Join(r.dropPod("p"), r.dropContainer(c)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.saveContainer(c); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("saveContainer() = %v; want %v", err, fs.ErrNotExist)
	}
}
