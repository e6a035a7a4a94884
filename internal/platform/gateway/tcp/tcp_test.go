package tcp

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pair returns both ends of a connection.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(here.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); there.Close() })
	return c, there.(*net.TCPConn)
}

// bench is a Seat that counts who sits on it.
type bench struct {
	taken int
	b     [16]byte
}

func (b *bench) Take() []byte { b.taken++; return b.b[:] }
func (b *bench) Leave()       { b.taken-- }

func TestReceiveTakesABufferWhenSomethingHasCome(t *testing.T) {
	c, there := pair(t)
	var b bench
	go func() {
		time.Sleep(20 * time.Millisecond)
		_, _ = io.WriteString(there, "hello")
	}()
	n, err := c.Receive(&b)
	if err != nil || string(b.b[:n]) != "hello" || b.taken != 1 {
		t.Errorf("Receive = %q, %v with %d buffers; want hello in one", b.b[:n], err, b.taken)
	}
	c.Within(time.Now(), time.Millisecond, 10*time.Millisecond)
	if _, err := c.Receive(&b); !errors.Is(err, os.ErrDeadlineExceeded) || b.taken != 1 {
		t.Errorf("Receive = %v with %d buffers; want that the time is over and none is taken", err, b.taken)
	}
	c.Unlimited()
	there.Close()
	if n, err := c.Receive(&b); n != 0 || err != nil {
		t.Errorf("Receive of a closed connection = %d, %v; want 0", n, err)
	}
}

func TestADeadlineThatIsFarStays(t *testing.T) {
	c, _ := pair(t)
	now := time.Now()
	c.Within(now, time.Minute, time.Hour)
	set := c.until
	c.Within(now.Add(30*time.Minute), time.Minute, time.Hour)
	if c.until != set {
		t.Error("the deadline was moved while it was far")
	}
	c.Within(now.Add(59*time.Minute+30*time.Second), time.Minute, time.Hour)
	if c.until == set {
		t.Error("the deadline was not moved when it came near")
	}
	c.By(now.Add(10 * time.Millisecond))
	if _, err := c.Receive(new(bench)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Receive = %v; want that a deadline can be brought forward", err)
	}
}

func TestQuiet(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(there *net.TCPConn)
		want bool
	}{
		"open":         {func(*net.TCPConn) {}, true},
		"with a word":  {func(c *net.TCPConn) { _, _ = io.WriteString(c, "!") }, false},
		"closed":       {func(c *net.TCPConn) { c.Close() }, false},
		"closed badly": {func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, there := pair(t)
			tt.do(there)
			time.Sleep(20 * time.Millisecond)
			if got := c.Quiet(); got != tt.want {
				t.Errorf("Quiet = %v; want %v", got, tt.want)
			}
		})
	}
}

func TestGone(t *testing.T) {
	c, there := pair(t)
	gone := make(chan error, 1)
	go func() { gone <- c.Gone() }()
	select {
	case err := <-gone:
		t.Fatalf("Gone = %v of an open connection", err)
	case <-time.After(20 * time.Millisecond):
	}
	_, _ = io.WriteString(there, "!")
	if err := <-gone; err == nil {
		t.Error("Gone = nil when something came")
	}
	var b [1]byte
	if _, err := c.Read(b[:]); err != nil || b[0] != '!' {
		t.Errorf("what came is %q, %v; want it to stay", b, err)
	}
	go func() { gone <- c.Gone() }()
	there.Close()
	if err := <-gone; err != nil {
		t.Errorf("Gone = %v; want nil when it was closed", err)
	}
}
