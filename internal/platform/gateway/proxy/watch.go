package proxy

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/tcp"
)

// An answer that takes longer than this is waited for together with the client:
// nearly all come before, and are spared that.
const patienceLeast, patienceMost = 50 * time.Millisecond, 150 * time.Millisecond

// watch looks out for a client to go away while a backend is waited for.
type watch struct {
	gone atomic.Bool
	done chan struct{}
}

// wait reads from a backend. When that takes long it begins to watch the client,
// whose going ends the wait. now is about now.
func (l *Line) wait(up *tcp.Conn, b []byte, now time.Time) (int, error) {
	if l.watch == nil {
		up.Within(now, patienceLeast, patienceMost)
	}
	n, err := up.Read(b)
	if n == 0 && l.watch == nil && errors.Is(err, os.ErrDeadlineExceeded) {
		l.watchFor(up)
		n, err = up.Read(b)
	}
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// watchFor makes reads from up end when the client goes, and take as long as
// they need otherwise.
func (l *Line) watchFor(up *tcp.Conn) {
	if l.watch != nil {
		return
	}
	w := &watch{done: make(chan struct{})}
	l.watch = w
	l.conn.Unlimited()
	up.Unlimited()
	go func() {
		defer close(w.done)
		if l.conn.Gone() == nil {
			w.gone.Store(true)
			_ = up.SetReadDeadline(time.Unix(1, 0))
		}
	}()
}

// stopWatching ends the watch, if there is one.
func (l *Line) stopWatching() {
	if l.watch == nil {
		return
	}
	_ = l.conn.SetReadDeadline(time.Unix(1, 0))
	<-l.watch.done
	l.watch = nil
	l.conn.Unlimited()
}

func (l *Line) clientGone() bool { return l.watch != nil && l.watch.gone.Load() }
