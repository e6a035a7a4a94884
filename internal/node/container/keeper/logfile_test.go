package keeper

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// The loop that opens logs is the one that serves all containers.
func TestALogThatIsAFIFOKeepsNobodyWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openLog(wire.Log{Path: path}, slog.New(slog.DiscardHandler), func(wire.LogTrouble) {})
	if !errors.Is(err, unix.ENXIO) {
		t.Errorf("openLog of a FIFO without a reader: %v, want %v", err, unix.ENXIO)
	}
}
