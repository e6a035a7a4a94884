package keeper

import (
	"os"

	"golang.org/x/sys/unix"
)

// The start of a line whose end has not come is in no log yet and in no pipe any
// more. A file in the container's directory has it too, for the next keeper. It is
// written while the journal still holds the same bytes, so that a keeper killed
// over it loses nothing either.
func (b *box) tailFile(name streamName) string { return b.pipe(name) + ".tail" }

// keep remembers an unfinished line, or that there is none.
func (s *stream) keep(tail []byte) {
	if len(tail) == 0 && len(s.tail) == 0 {
		return
	}
	s.tail = append([]byte(nil), tail...)
	s.box.saveTail(s.name, s.tail)
}

func (b *box) saveTail(name streamName, tail []byte) {
	fd, err := unix.Open(b.tailFile(name), unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o600)
	if err == nil {
		_, err = unix.Write(fd, tail)
		unix.Close(fd)
	}
	if err != nil {
		b.log.Warn("an unfinished line is only in memory", "stream", name, "err", err)
	}
}

// savedTail is what saveTail wrote last, if anything.
func (b *box) savedTail(name streamName) []byte {
	tail, err := os.ReadFile(b.tailFile(name))
	if err != nil || len(tail) > maxLine {
		return nil
	}
	return tail
}
