package cli

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// logText is a writer that a test may read at any time.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *logText) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *logText) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// Where nobody watches a terminal a step that takes long is told while it does.
func TestALogShowsWhatIsWaitedFor(t *testing.T) {
	out := &logText{}
	p := &progress{out: out, stop: make(chan struct{})}
	p.ended.Go(func() { p.remind(20 * time.Millisecond) })
	p.step("connect", "connect")
	p.note("connect", "mirror.example.org:80")
	for limit := time.Now().Add(5 * time.Second); !strings.Contains(out.String(), "mirror.example.org:80"); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("nothing is told: %q", out.String())
		}
	}
	p.done("connect", time.Second, nil)
	p.close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, "✓ connect") {
		t.Errorf("the last line is %q, want the end of the step", last)
	}
}
