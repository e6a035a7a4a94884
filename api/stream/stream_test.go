package stream

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestWhatIsSentArrives(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	big := bytes.Repeat([]byte("x"), MaxPayload+10)
	if n, err := w.As(Stdout).Write(big); n != len(big) || err != nil {
		t.Fatalf("Write = %d, %v; want %d", n, err, len(big))
	}
	if err := errors.Join(w.Send(Stdin, nil), w.SendResize(80, 24), w.SendExit(-1)); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&b)
	next := func(want Kind) Frame {
		t.Helper()
		f, err := r.Next()
		if err != nil || f.Kind != want {
			t.Fatalf("Next = %c, %v; want %c", f.Kind, err, want)
		}
		return f
	}
	if got := len(next(Stdout).Payload); got != MaxPayload {
		t.Errorf("first frame of a long write has %d bytes, want %d", got, MaxPayload)
	}
	if got := len(next(Stdout).Payload); got != 10 {
		t.Errorf("second frame of a long write has %d bytes, want 10", got)
	}
	if got := len(next(Stdin).Payload); got != 0 {
		t.Errorf("end of input has %d bytes, want none", got)
	}
	if w, h := next(Resize).Size(); w != 80 || h != 24 {
		t.Errorf("Size = %d, %d; want 80, 24", w, h)
	}
	if got := next(Exit).Code(); got != -1 {
		t.Errorf("Code = %d, want -1", got)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("Next at the end = %v, want EOF", err)
	}
}

func TestAFrameThatCannotBeIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		want error
	}{
		"too long":                   {"o\xff\xff\xff\xff", fault.Invalid},
		"an exit code of two bytes":  {"x\x00\x00\x00\x02ab", fault.Invalid},
		"a signal without a number":  {"s\x00\x00\x00\x00", fault.Invalid},
		"cut off within its payload": {"o\x00\x00\x00\x04ab", io.ErrUnexpectedEOF},
		"cut off within its head":    {"o\x00", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewReader(bytes.NewReader([]byte(tt.in))).Next(); !errors.Is(err, tt.want) {
				t.Errorf("Next(%q) = %v, want %v", tt.in, err, tt.want)
			}
		})
	}
}
