package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// Where nobody watches a terminal a step that takes long is told while it does.
func TestALogShowsWhatIsWaitedFor(t *testing.T) {
	began := time.Now()
	var out bytes.Buffer
	p := &progress{out: &out, stop: make(chan struct{})}
	p.step("etcd", "etcd")
	p.steps[0].began = began
	p.waits("etcd", "a slow disk")
	p.note("etcd", "3 MB")
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{
		{500 * time.Millisecond, ""},
		{1500 * time.Millisecond, " … etcd 1.50s 3 MB"},
		{5 * time.Second, ""}, // said already
		{12 * time.Second, " … etcd 12.00s 3 MB a slow disk"},
	} {
		out.Reset()
		p.tell(began.Add(tt.after))
		if got := strings.Join(strings.Fields(out.String()), " "); got != strings.TrimSpace(tt.want) {
			t.Errorf("after %s: %q, want %q", tt.after, got, tt.want)
		}
	}
	out.Reset()
	p.done("etcd", 13*time.Second, errors.New("full"))
	if got := out.String(); !strings.HasPrefix(got, " ✗ etcd") || strings.Contains(got, "slow disk") {
		t.Errorf("at its end: %q, want that it failed, and no more what it waits for", got)
	}
}

func TestTitlesOfBothLanguagesEndInOneColumn(t *testing.T) {
	for _, title := range []string{"Daemon", "守护进程"} {
		s := step{title: title, done: true}
		line := s.line(time.Now(), "")
		if at := width(line[:strings.Index(line, "0.00s")]); at != width(" ✓ ")+44+3 {
			t.Errorf("%s: the time stands in column %d", title, at)
		}
	}
}
