package e2e

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// image is the name of the toolbox in every cloud.
const image = "registry.local/test/toolbox:1"

// stage is what tests share: the toolbox's archive, and one cloud for all that
// do not break it.
var stage struct {
	toolbox func() (string, error)
	cloud   func() (*host, error)
	made    *host // to be closed
}

func TestMain(m *testing.M) {
	code := run(m)
	os.Exit(code)
}

// run ends the shared cloud after the tests; what it leaves is a failure too.
func run(m *testing.M) int {
	if err := sweep(); err != nil {
		fmt.Fprintln(os.Stderr, "of an earlier run:", err)
	}
	dir, err := os.MkdirTemp("", prefix+"image-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	stage.toolbox = sync.OnceValues(func() (string, error) { return makeToolbox(dir, image) })
	stage.cloud = sync.OnceValues(func() (*host, error) {
		h, err := makeHost("engine: {restoreImages: true}\n")
		if err != nil {
			return nil, err
		}
		stage.made = h
		if out, err := h.sampan("up"); err != nil {
			return nil, fmt.Errorf("up: %w: %s%s", err, out, h.log())
		}
		archive, err := stage.toolbox()
		if err != nil {
			return nil, err
		}
		if out, err := h.sampan("image", "load", archive); err != nil {
			return nil, fmt.Errorf("load: %w: %s%s", err, out, h.log())
		}
		return h, nil
	})
	code := m.Run()
	if stage.made != nil {
		if code != 0 {
			fmt.Println(stage.made.log())
		}
		if err := stage.made.close(); err != nil {
			fmt.Fprintln(os.Stderr, "FAIL: the shared cloud:", err)
			code = 1
		}
	}
	return code
}

// shared returns the cloud that tests share, with the toolbox's image in it.
func shared(t testing.TB) *host {
	t.Helper()
	requirements(t)
	h, err := stage.cloud()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// up starts a cloud of the test's own, with the toolbox's image in it.
func up(t *testing.T, more string) *host {
	t.Helper()
	h := newHost(t, more)
	h.must(t, "up")
	h.load(t)
	return h
}

func (h *host) load(t testing.TB) {
	t.Helper()
	archive, err := stage.toolbox()
	if err != nil {
		t.Fatal(err)
	}
	h.must(t, "image", "load", archive)
}
