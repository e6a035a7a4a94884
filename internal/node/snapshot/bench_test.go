package snapshot_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/sampan-cloud/sampan/internal/node/snapshot"
)

// BenchmarkPrepare is what a container's start pays: make its filesystem, and
// remove it again.
func BenchmarkPrepare(b *testing.B) {
	s, err := snapshot.Open(snapshot.Config{Root: b.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Skip(err)
	}
	defer s.Close()
	if err := s.Commit(b.Context(), "a", "", func(context.Context, string, []string) error { return nil }); err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		i++
		name := fmt.Sprint(i)
		if _, err := s.Prepare(b.Context(), name, "a"); err != nil {
			b.Fatal(err)
		}
		if err := s.Remove(b.Context(), name); err != nil {
			b.Fatal(err)
		}
	}
}
