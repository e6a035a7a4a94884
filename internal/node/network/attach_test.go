package network

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
)

// A pod that asks for what cannot be done leaves nothing and may ask again.
func TestAFailedAttachLeavesNothing(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	cfg.Pool = 0
	n := open(t, cfg)
	start(t, n)
	pod := Pod{ID: "a", Ingress: 1, Ports: []Port{{Protocol: "tcp", HostPort: 80, PodPort: 80}}} // less than a byte a second
	if _, err := n.Attach(t.Context(), pod); err == nil {
		t.Fatal("a limit of one bit a second was accepted")
	}
	if pods := n.Pods(); len(pods) != 0 {
		t.Errorf("Pods = %v, want none", pods)
	}
	if records, err := os.ReadDir(cfg.podsDir()); err != nil || len(records) != 0 {
		t.Errorf("written down: %v, %v; want nothing", records, err)
	}
	eventually(t, func() error {
		if n.addrs.inUse() > 0 {
			return errors.New("the address is still in use")
		}
		return nil
	})
	attach(t, n, "b", pod.Ports...)
}

func TestABurstIsWrittenDownWithoutComplaint(t *testing.T) {
	newMachine(t)
	cfg := testConfig(t)
	cfg.Pool = 8
	var log lines
	n, err := Open(cfg, slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	t.Cleanup(func() { must(t, Remove(context.Background(), cfg, quiet())) })
	start(t, n)
	var pods sync.WaitGroup
	for i := range 50 {
		pods.Go(func() {
			if _, err := n.Attach(t.Context(), Pod{ID: string(rune('A' + i))}); err != nil {
				t.Error(err)
			}
		})
	}
	pods.Wait()
	if text := log.String(); text != "" {
		t.Errorf("the log says %s", text)
	}
}

// lines is a log that may be written and read at the same time.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
