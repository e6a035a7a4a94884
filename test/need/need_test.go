package need

import (
	"fmt"
	"testing"
)

// recorder is a test that notes how it ended.
type recorder struct {
	testing.TB
	how string
}

func (r *recorder) Helper()                   {}
func (r *recorder) Skip(args ...any)          { r.how = "skip: " + fmt.Sprint(args...) }
func (r *recorder) Fatalf(f string, a ...any) { r.how = "fail: " + fmt.Sprintf(f, a...); panic(r) }
func (r *recorder) run(f func(testing.TB)) (how string) {
	// Fatalf panics, as the real one ends the goroutine.
	defer func() {
		_ = recover()
		how = r.how
	}()
	f(r)
	return
}

func TestSkip(t *testing.T) {
	missing := func(t testing.TB) { Command(t, "no-such-command") }
	for name, tt := range map[string]struct {
		ci   string
		need func(testing.TB)
		want string
	}{
		"what is there skips nothing":               {"true", func(t testing.TB) { Command(t, "sh") }, ""},
		"a developer's test is skipped":             {"", missing, "skip: no command no-such-command"},
		"an unexpected skip fails in CI":            {"true", missing, "fail: skipped in CI: no command no-such-command: not in test/need/allowed.txt"},
		"a reason on the list may be skipped in CI": {"true", func(t testing.TB) { skip(t, "no cgroup v2") }, "skip: no cgroup v2"},
		"a future kernel is missing":                {"", func(t testing.TB) { Kernel(t, 99, 0) }, "skip: kernel older than 99.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			r := &recorder{TB: t}
			if got := r.run(tt.need); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAReasonWithoutWhyIsNotAllowed(t *testing.T) {
	if isAllowed("no root:\nno root: \n", "no root") {
		t.Error("a line without why allows a skip")
	}
}
