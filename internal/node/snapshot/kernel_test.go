package snapshot_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/snapshot"
	"github.com/sampan-cloud/sampan/internal/node/snapshot/snapshottest"
)

func TestADirectoryThatCannotHoldOverlaysIsRefused(t *testing.T) {
	s, end := start(t, t.TempDir())
	defer end()
	m, err := s.Prepare(t.Context(), "c", "")
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	snapshottest.Mounted(t, m, func(root string) error {
		dir := filepath.Join(root, "data")
		_, err := snapshot.Open(snapshot.Config{Root: dir}, slog.New(slog.DiscardHandler))
		if fault.Of(err) != fault.Unsupported || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "choose a data directory") {
			return fmt.Errorf("Open on an overlay = %v; want unsupported, the directory and the way out", err)
		}
		t.Log(err)
		return nil
	})
}
