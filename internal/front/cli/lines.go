package cli

import (
	"bytes"
	"io"
	"sync"
)

// lines writes whole lines with a label in front, so that several writers may
// share one output.
type lines struct {
	to    io.Writer
	mu    *sync.Mutex
	label string
	rest  []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n')
	if end < 0 {
		return len(p), nil
	}
	var b []byte
	for line := range bytes.Lines(l.rest[:end+1]) {
		b = append(append(b, l.label...), line...)
	}
	l.rest = append(l.rest[:0], l.rest[end+1:]...)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.to.Write(b)
	return len(p), err
}
