package engine_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
	"github.com/sampan-cloud/sampan/internal/node/network"
)

func TestWhatACrashLeftIsRemoved(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	kept := w.container(w.pod("kept"), "main")
	w.stop()
	for _, d := range []string{"pods/half", "run/pods/unwritten", "files/unwritten/images/0"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A place in the network and filesystems whose owner's record never came.
	if _, err := w.network.Attach(t.Context(), network.Pod{ID: "lost"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lost", "lost-image-0"} {
		if _, err := w.snapshots.Prepare(t.Context(), name, ""); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	if got := w.snapshots.Left(); !slices.Equal(got, []string{kept.ID}) {
		t.Errorf("filesystems left: %v, want that of the container that is kept, %s", got, kept.ID)
	}
	if got := w.network.Left(); !slices.Equal(got, []string{kept.PodID}) {
		t.Errorf("attached: %v, want the pod that is kept, %s", got, kept.PodID)
	}
	if err := w.RemovePod(t.Context(), "cri", kept.PodID); err != nil {
		t.Fatal(err)
	}
	w.left()
}

// Before the engine knows what runs, it would sweep away what it makes.
func TestNothingIsMadeBeforeTheEngineRuns(t *testing.T) {
	w := newWorld(t)
	w.stop()
	e := w.open()
	if _, err := e.RunPod(t.Context(), engine.PodConfig{Owner: "cri", Name: "a"}); fault.Of(err) != fault.Unavailable {
		t.Errorf("RunPod = %v, want %v", err, fault.Unavailable)
	}
	if _, err := e.CreateContainer(t.Context(), "cri", "a", engine.ContainerConfig{Name: "a"}); fault.Of(err) != fault.Unavailable {
		t.Errorf("CreateContainer = %v, want %v", err, fault.Unavailable)
	}
	w.left()
}
