package keeper

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A journal holds the one chunk of output that is between a container's pipe
// and its log. It is a shared mapping of a file, so a keeper that is killed
// leaves it as it was at that instant.
//
// Output is read straight into it: the same system call that takes bytes out of
// the pipe puts them where they survive. How many there are shows from the bytes
// themselves, since the space is zero before; only zeros at the very end of a
// chunk can be missed, and only if the keeper dies at that moment.
//
// Layout: a page with the fields below, the start of an unfinished line from
// before (maxLine bytes), the chunk.
type journal struct {
	file *os.File
	mem  []byte
}

// Offsets in the journal's first page.
const (
	journalBusy   = 0  // 1 while the rest means something
	journalTime   = 8  // of the lines being written, in nanoseconds
	journalOffset = 16 // in the log
	journalTail   = 24 // length of the unfinished line from before
	journalErr    = 28 // 1: stderr
	journalName   = 32 // length of the container's ID, and the ID
	journalHead   = 4096

	chunkSize   = 64 << 10 // what a pipe holds
	journalSize = journalHead + maxLine + chunkSize
)

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keeper: journal: %w", err)
	}
	if err := f.Truncate(journalSize); err != nil {
		f.Close()
		return nil, fmt.Errorf("keeper: journal: %w", err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, journalSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("keeper: journal %s: map: %w", path, err)
	}
	return &journal{file: f, mem: mem}, nil
}

// pending is what a former keeper had taken out of a pipe.
type pending struct {
	id     string
	stream streamName
	at     time.Time
	offset int64
	text   []byte // the unfinished line from before, and what followed
}

// begin says for whom the chunk is that is read next, and returns the space for it.
func (j *journal) begin(id string, stream streamName, at time.Time, offset int64, tail []byte) []byte {
	m := j.mem
	binary.NativeEndian.PutUint64(m[journalTime:], uint64(at.UnixNano()))
	binary.NativeEndian.PutUint64(m[journalOffset:], uint64(offset))
	binary.NativeEndian.PutUint32(m[journalTail:], uint32(len(tail)))
	m[journalErr] = 0
	if stream == stderr {
		m[journalErr] = 1
	}
	binary.NativeEndian.PutUint32(m[journalName:], uint32(len(id)))
	copy(m[journalName+4:journalHead], id)
	copy(m[journalHead+maxLine-len(tail):], tail)
	atomic.StoreUint64(j.busy(), 1)
	return m[journalHead+maxLine:]
}

// text is the unfinished line given to begin and the n bytes that were read.
func (j *journal) text(tail, n int) []byte {
	return j.mem[journalHead+maxLine-tail : journalHead+maxLine+n]
}

// end erases a chunk of n bytes, which are now in the log.
func (j *journal) end(n int) {
	atomic.StoreUint64(j.busy(), 0)
	clear(j.mem[journalHead+maxLine : journalHead+maxLine+n])
}

// left returns what a former keeper did not finish, if anything.
func (j *journal) left() (pending, bool) {
	if atomic.LoadUint64(j.busy()) == 0 {
		return pending{}, false
	}
	m := j.mem
	n := len(bytes.TrimRight(m[journalHead+maxLine:], "\x00"))
	tail := int(min(binary.NativeEndian.Uint32(m[journalTail:]), maxLine))
	name := int(min(binary.NativeEndian.Uint32(m[journalName:]), journalHead-journalName-4))
	p := pending{
		id: string(m[journalName+4:][:name]), stream: stdout,
		at:     time.Unix(0, int64(binary.NativeEndian.Uint64(m[journalTime:]))),
		offset: int64(binary.NativeEndian.Uint64(m[journalOffset:])),
		text:   bytes.Clone(j.text(tail, n)),
	}
	if m[journalErr] == 1 {
		p.stream = stderr
	}
	return p, true
}

func (j *journal) busy() *uint64 { return (*uint64)(unsafe.Pointer(&j.mem[journalBusy])) }

// finish writes to the log what p's keeper was about to write: the same bytes at
// the same place, whether or not they are there. It returns the unfinished line.
func (l *logFile) finish(p pending) []byte {
	lines, rest := appendLines(nil, p.text, p.at, p.stream)
	if l.file == nil {
		return rest
	}
	if p.offset > l.offset {
		p.offset = l.offset // another file than then: reopened, or truncated by somebody
	}
	if end := p.offset + int64(len(lines)); end < l.offset {
		p.offset = l.offset
	}
	l.offset = p.offset
	l.write(lines)
	return rest
}
