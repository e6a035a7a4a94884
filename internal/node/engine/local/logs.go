package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// logPoll is how often a followed log is looked at: often enough for a person.
const logPoll = 100 * time.Millisecond

// logs writes a container's output as text, and goes on while it runs when
// asked to follow.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	owner, c, err := s.find(r.PathValue("id"))
	if err != nil {
		return err
	}
	follow, err := flag(r, "follow")
	if err != nil {
		return err
	}
	stamps, err := flag(r, "timestamps")
	if err != nil {
		return err
	}
	tail := -1
	if t := r.URL.Query().Get("tail"); t != "" {
		if tail, err = strconv.Atoi(t); err != nil || tail < 0 {
			return fmt.Errorf("tail %q is not a number of lines: %w", t, fault.Invalid)
		}
	}
	if c.LogPath == "" {
		return fmt.Errorf("container %s keeps no log: %w", c.Config.Name, fault.Precondition)
	}
	f, err := os.Open(c.LogPath)
	if errors.Is(err, os.ErrNotExist) && c.State == engine.Created {
		return fmt.Errorf("container %s has not been started: %w", c.Config.Name, fault.Precondition)
	}
	if err != nil {
		return fmt.Errorf("log of container %s: %w", c.Config.Name, err)
	}
	defer func() { f.Close() }()
	if tail >= 0 {
		if err := seekTail(f, tail); err != nil {
			return fmt.Errorf("log of container %s: %w", c.Config.Name, err)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	flush(w) // the client may have long to wait for the first line
	reader := &logReader{path: c.LogPath, file: f, out: w, stamps: stamps}
	if !follow {
		_, err = reader.copy()
		return s.afterHeaders(err)
	}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		defer close(ended)
		_, _ = s.engine.WaitContainer(ctx, owner, c.ID) // removed or ended: either ends the log
	}()
	err = reader.follow(ctx, ended)
	f = reader.file
	return s.afterHeaders(err)
}

// afterHeaders logs what can no longer be answered.
func (s *Server) afterHeaders(err error) error {
	if err != nil && !errors.Is(err, context.Canceled) {
		s.log.Debug("log not sent whole", "err", err)
	}
	return nil
}

// logReader turns a log in CRI format into text.
type logReader struct {
	path   string
	file   *os.File
	out    io.Writer
	stamps bool
	rest   []byte // the start of a line whose end is not written yet
	mid    bool   // within a line of output that came in parts
}

// copy writes what is there now and tells whether that was anything.
func (l *logReader) copy() (bool, error) {
	any := false
	r := bufio.NewReaderSize(l.file, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			l.rest = append(l.rest, line...)
			return any, nil
		}
		if err != nil {
			return any, err
		}
		any = true
		if len(l.rest) > 0 {
			line = append(l.rest, line...)
			l.rest = nil
		}
		if err := l.line(line); err != nil {
			return any, err
		}
	}
}

// line writes one entry: time, stream, F or P (part of a line), text.
func (l *logReader) line(line []byte) error {
	f := strings.SplitN(string(line), " ", 4)
	if len(f) < 4 {
		return nil // cut by a full disk
	}
	text := f[3]
	if strings.HasPrefix(f[2], "P") {
		text = strings.TrimSuffix(text, "\n")
	}
	if l.stamps && !l.mid {
		text = f[0] + " " + text
	}
	l.mid = strings.HasPrefix(f[2], "P")
	_, err := io.WriteString(l.out, text)
	return err
}

func (l *logReader) follow(ctx context.Context, ended <-chan struct{}) error {
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	for last := false; ; {
		any, err := l.copy()
		if err != nil {
			return err
		}
		if any {
			flush(l.out)
		}
		if !any {
			if l.rotated() {
				continue
			}
			if last {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			last = true // once more, for what came just before the end
			ended = nil
		case <-tick.C:
		}
	}
}

// flush sends what has been written so far.
func flush(w io.Writer) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

// rotated goes on with a new file when the old one was moved away.
func (l *logReader) rotated() bool {
	now, err := os.Stat(l.path)
	old, err2 := l.file.Stat()
	if err != nil || err2 != nil || os.SameFile(now, old) {
		return false
	}
	f, err := os.Open(l.path)
	if err != nil {
		return false // between the move and the new file
	}
	l.file.Close()
	l.file, l.rest = f, nil
	return true
}

// seekTail moves to where the last n lines begin.
func seekTail(f *os.File, n int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	buf := make([]byte, 64<<10)
	for pos := end; pos > 0; {
		size := min(int64(len(buf)), pos)
		pos -= size
		if _, err := f.ReadAt(buf[:size], pos); err != nil {
			return err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || pos+i == end-1 {
				continue
			}
			if n--; n == 0 {
				_, err := f.Seek(pos+i+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
