package keeper

import (
	"time"

	"golang.org/x/sys/unix"
)

// A stream is one of a container's outputs on its way to the log and to those
// who are attached. Only the loop uses it, done excepted.
type stream struct {
	box  *box
	name streamName
	fd   int    // a pipe's reading end, or a terminal's master
	own  bool   // close fd at the end; a master stays open for its input
	tail []byte // the start of a line whose end has not come

	waiting int           // attached readers that must catch up first
	held    bool          // nothing is read until somebody attaches
	open    bool          // watched by the loop
	done    chan struct{} // closed when all of it is written
}

func newStream(b *box, name streamName, fd int, own bool) *stream {
	return &stream{box: b, name: name, fd: fd, own: own, done: make(chan struct{})}
}

// start begins to read.
func (s *stream) start() {
	events := uint32(unix.EPOLLIN)
	if s.held {
		events = 0
	}
	s.open = true
	if err := s.box.loop.watch(s.fd, events, func(uint32) { s.read() }); err != nil {
		s.box.log.Error("output not read", "stream", s.name, "err", err)
		s.close()
	}
}

// read takes one chunk, so that one busy container does not hold up others.
func (s *stream) read() (more bool) {
	if !s.open || s.blocked() {
		return false
	}
	b, j := s.box, s.box.journal
	at := time.Now()
	space := j.begin(b.id, s.name, at, b.out.offset, s.tail)
	n, err := unix.Read(s.fd, space)
	if err != nil || n <= 0 {
		j.end(0)
		if err != unix.EINTR && err != unix.EAGAIN {
			s.close() // the end: 0 from a pipe, EIO from a terminal
		}
		return false
	}
	lines, rest := appendLines(b.loop.lines[:0], j.text(len(s.tail), n), at, s.name)
	b.loop.lines = lines
	b.out.write(lines)
	b.taps.write(s, space[:n])
	s.keep(rest)
	j.end(n)
	b.out.rotateIfFull() // not before: the journal's offset is of this file
	return true
}

// blocked tells whether reading must wait for others. Hanging up is reported
// whatever is asked for, so the loop may call in vain; then it stops watching.
func (s *stream) blocked() bool {
	if s.waiting == 0 && !s.held {
		return false
	}
	s.box.loop.forget(s.fd)
	return true
}

// resume reads on after what held it up has gone.
func (s *stream) resume() {
	if !s.open || s.waiting > 0 || s.held {
		return
	}
	s.box.loop.forget(s.fd)
	s.start()
}

// finish reads what is left without waiting for the end, which never comes if
// somebody outside keeps the pipe open.
func (s *stream) finish() {
	s.waiting, s.held = 0, false
	for s.read() {
	}
	s.close()
}

// close ends the stream. A line without its end is a part, so that whoever reads
// the log gets what was written and not a newline more.
func (s *stream) close() {
	if !s.open {
		return
	}
	s.open = false
	s.box.loop.forget(s.fd)
	if len(s.tail) > 0 {
		s.box.out.write(appendLine(nil, s.tail, time.Now(), s.name, 'P'))
		s.keep(nil)
	}
	if s.own {
		unix.Close(s.fd)
	}
	s.box.taps.end(s)
	close(s.done)
}
