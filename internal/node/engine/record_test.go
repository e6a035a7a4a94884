package engine

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
	text, err := textOf(line{podLine, second})
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(text) - 1 { // the last byte only ends the line
		r := openTestRecords(t)
		if err := r.newPod(first); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(r.podFile("a"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(text[:cut])
		f.Close()
		pods, broken, err := r.loadPods()
		if err != nil || len(broken) > 0 || len(pods) != 1 || pods[0].State != PodReady {
			t.Fatalf("after %q: %v, broken %q, %v; want the record from before", text[:cut], pods, broken, err)
		}
		if err := r.savePod(second); err != nil {
			t.Fatal(err)
		}
		if pods, _, _ := r.loadPods(); len(pods) != 1 || pods[0].State != PodNotReady {
			t.Fatalf("after %q and another line: %v; want that line's", text[:cut], pods)
		}
	}
}

func TestWhatHasNoWholeLineIsBroken(t *testing.T) {
	r := openTestRecords(t)
	text, err := textOf(line{podLine, &Pod{ID: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty": nil, "cut": text[:len(text)-2], "zeros": make([]byte, 100), "other": []byte("container {}\n"),
	} {
		if err := os.WriteFile(r.podFile(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(r.podFile("directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A file that was being shortened.
	if err := os.WriteFile(r.podFile(".a"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	pods, broken, err := r.loadPods()
	want := []string{"cut", "directory", "empty", "other", "zeros"}
	if err != nil || len(pods) > 0 || !slices.Equal(broken, want) {
		t.Errorf("loadPods() = %v, %q, %v; want no pod and %q broken", pods, broken, err, want)
	}
	if _, err := os.Lstat(r.podFile(".a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what shortening has left is still there: %v", err)
	}
}

func TestARecordThatChangesOftenStaysShort(t *testing.T) {
	r := openTestRecords(t)
	if err := r.newContainer(&Container{ID: "a"}, &container.Spec{ID: "a", Log: "/first"}); err != nil {
		t.Fatal(err)
	}
	for n := range 3000 {
		if err := r.saveContainer(&Container{ID: "a", Code: n, Message: "a hundred and more bytes of what happened to it this time"}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(r.containerFile("a"))
	if err != nil || info.Size() > 2*recordLimit {
		t.Errorf("%d bytes, %v; want at most about %d", info.Size(), err, recordLimit)
	}
	all, _, err := r.loadContainers()
	if err != nil || len(all) != 1 || all[0].Code != 2999 {
		t.Errorf("loadContainers() = %v, %v; want the last change", all, err)
	}
	if s, err := r.loadSpec("a"); err != nil || s.Log != "/first" {
		t.Errorf("loadSpec() = %v, %v; want the one that was written first", s, err)
	}
	left, _ := filepath.Glob(filepath.Join(r.dir, "containers", ".*"))
	if len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestARemovedRecordStaysAway(t *testing.T) {
	r := openTestRecords(t)
	c := &Container{ID: "a"}
	if err := r.newContainer(c, &container.Spec{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.dropContainer("a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.saveContainer(c); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("saveContainer() = %v; want %v", err, fs.ErrNotExist)
	}
}

// A name may contain the word that begins a line.
func TestOnlyTheBeginningOfALineTellsItsKind(t *testing.T) {
	text, err := textOf(line{podLine, &Pod{ID: "a", Config: PodConfig{Name: "\ncontainer {}\n"}}})
	if err != nil {
		t.Fatal(err)
	}
	if lastOf(text, containerLine, new(Container)) || !bytes.Contains(text, []byte(`\n`)) {
		t.Errorf("a container was found in %q", text)
	}
}
