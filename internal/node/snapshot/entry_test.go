package snapshot

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/test/need"
)

func TestAFilesystemsNameIsItsRecord(t *testing.T) {
	for _, key := range []string{"a", "3f-image-0", "a.b.c", "sha256:9f", "../../etc", "ü,\\\n%41", strings.Repeat("x", maxName)} {
		for kind := range letters {
			want := &entry{record: record{Kind: kind, Key: key}, n: 12, on: 5}
			dir := want.dir()
			if strings.ContainsAny(dir, "/:,\\\n") {
				t.Errorf("%q becomes %q, which is no plain name", key, dir)
			}
			got, ok := parseMount(dir)
			if !ok || got.record != want.record || got.n != want.n || got.on != want.on {
				t.Errorf("parseMount(%q) = %+v, %v; want %+v", dir, got, ok, want)
			}
		}
	}
	for _, name := range []string{"", "3", "3.w.1", "x.w.1.a", "3.w.x.a", "3.e.1.a", "3.w.1.%", "3.w.1.%zz"} {
		if e, ok := parseMount(name); ok {
			t.Errorf("parseMount(%q) = %+v; want none", name, e)
		}
	}
}

func TestANameThatIsTooLongForADirectory(t *testing.T) {
	need.Root(t) // overlays
	s, err := Open(Config{Root: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Prepare(t.Context(), strings.Repeat(":", maxName/3+1), ""); fault.Of(err) != fault.Invalid {
		t.Errorf("Prepare = %v, want kind %q", err, fault.Invalid)
	}
}
