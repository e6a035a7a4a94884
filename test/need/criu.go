package need

import (
	"testing"

	"github.com/sampan-cloud/sampan/internal/node/container/criu"
)

// CRIU skips the test unless a CRIU is installed that works on this kernel.
func CRIU(t testing.TB) {
	t.Helper()
	Root(t)
	if _, err := criu.Find(t.Context(), ""); err != nil {
		skip(t, "no CRIU for this kernel")
	}
}
