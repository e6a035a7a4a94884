// Package stream carries a process's input, output and fate over one connection.
//
// The connection is an HTTP/1.1 one that both sides agreed to upgrade to
// Protocol. Then each side sends frames: one byte that says what it is, four
// bytes of length, big-endian, and that many bytes of payload.
//
//	client → server   Stdin (an empty one ends it), Resize, Signal
//	server → client   Stdout, Stderr, Started, Exit (the last frame), Failure (the last frame)
//
// Resize is width and height, two bytes each, big-endian. Signal is its number
// in one byte. Exit is the exit code in four bytes, big-endian. Started and
// Failure are JSON (local.Started, local.Error).
package stream

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Protocol is the name in the Upgrade header.
const Protocol = "sampan-stream.v1"

// Kind says what a frame carries.
type Kind byte

// The kinds of frames.
const (
	Stdin   Kind = 'i'
	Stdout  Kind = 'o'
	Stderr  Kind = 'e'
	Resize  Kind = 'r'
	Signal  Kind = 's'
	Started Kind = 'b'
	Exit    Kind = 'x'
	Failure Kind = 'f'
)

// MaxPayload is the longest payload that is sent or accepted.
const MaxPayload = 1 << 16

// Writer sends frames. It may be used by several goroutines at once.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

// NewWriter returns a Writer that sends to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Send sends one frame, in one write.
func (w *Writer) Send(k Kind, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("frame %c of %d bytes: more than %d: %w", k, len(payload), MaxPayload, fault.Invalid)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf[:0], byte(k))
	w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(len(payload)))
	w.buf = append(w.buf, payload...)
	_, err := w.w.Write(w.buf)
	return err
}

// SendExit sends the last frame of a process that ended with code.
func (w *Writer) SendExit(code int) error {
	return w.Send(Exit, binary.BigEndian.AppendUint32(nil, uint32(code)))
}

// SendResize sends a new terminal size.
func (w *Writer) SendResize(width, height uint16) error {
	return w.Send(Resize, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, width), height))
}

// As returns an io.Writer whose bytes are sent as frames of kind k.
func (w *Writer) As(k Kind) io.Writer { return kindWriter{w, k} }

type kindWriter struct {
	w *Writer
	k Kind
}

func (w kindWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), MaxPayload)]
		if err := w.w.Send(w.k, part); err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// Frame is one frame as it was received. Its payload is good until the next.
type Frame struct {
	Kind    Kind
	Payload []byte
}

// Code is the exit code of an Exit frame.
func (f Frame) Code() int { return int(int32(binary.BigEndian.Uint32(f.Payload))) }

// Size is the terminal size of a Resize frame.
func (f Frame) Size() (width, height uint16) {
	return binary.BigEndian.Uint16(f.Payload), binary.BigEndian.Uint16(f.Payload[2:])
}

// Reader receives frames.
type Reader struct {
	r   io.Reader
	buf []byte
}

// NewReader returns a Reader of what r brings.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// length of the payload of the kinds where it is fixed.
var length = map[Kind]int{Exit: 4, Resize: 4, Signal: 1}

// Next returns the next frame, and io.EOF when the other side has ended between
// two frames.
func (r *Reader) Next() (Frame, error) {
	var head [5]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return Frame{}, err
	}
	k, n := Kind(head[0]), binary.BigEndian.Uint32(head[1:])
	if want, fixed := length[k]; n > MaxPayload || fixed && int(n) != want {
		return Frame{}, fmt.Errorf("frame %q of %d bytes: %w", byte(k), n, fault.Invalid)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, max(int(n), 4096))
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return Frame{}, io.ErrUnexpectedEOF
	}
	return Frame{Kind: k, Payload: r.buf}, nil
}
