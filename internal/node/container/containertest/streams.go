package containertest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/sampan-cloud/sampan/internal/node/container"
)

// buffer is what somebody attached has seen so far.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// attachWriter attaches an input. The function returned detaches.
func (n *Node) attachWriter(id string) (io.Writer, func()) {
	ctx, cancel := context.WithCancel(n.t.Context())
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Attach(ctx, id, container.Stdio{Stdin: r})
	}()
	return w, func() {
		w.Close()
		cancel()
		<-done
	}
}

// attach attaches to the output until the function returned is called.
func (n *Node) attach(id string, s container.Stdio) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- n.Attach(n.t.Context(), id, s) }()
	return func() error { return <-done }
}

var streams = map[string]func(*testing.T, *Node){
	"input reaches the container and ends with the first attachment": func(t *testing.T, n *Node) {
		spec := n.Spec("cat")
		spec.Stdin, spec.StdinOnce = true, true
		n.Start(spec)
		var out buffer
		wait := n.attach(spec.ID, container.Stdio{Stdin: strings.NewReader("hello\nthere\n"), Stdout: &out})
		if st := n.WaitFor(spec.ID); st.Code != 0 {
			t.Errorf("Code = %d, want 0 after the end of input", st.Code)
		}
		if err := wait(); err != nil || out.String() != "hello\nthere\n" {
			t.Errorf("Attach = %v, output %q", err, out.String())
		}
	},
	"input stays open between attachments": func(t *testing.T, n *Node) {
		spec := n.Spec("cat")
		spec.Stdin = true
		n.Start(spec)
		for i, text := range []string{"one\n", "two\n"} {
			in, detach := n.attachWriter(spec.ID)
			io.WriteString(in, text)
			n.Until("the line is there", func() bool { return len(n.Log(spec.Log)) == i+1 })
			detach()
		}
		if st, err := n.Status(t.Context(), spec.ID); err != nil || st.Phase != container.Running {
			t.Errorf("Status = %v, %v; want it running", st, err)
		}
	},
	"many attached see the same": func(t *testing.T, n *Node) {
		spec := n.Spec("cat")
		spec.Stdin = true
		n.Start(spec)
		var a, b buffer
		n.attach(spec.ID, container.Stdio{Stdout: &a})
		n.attach(spec.ID, container.Stdio{Stdout: &b})
		in, detach := n.attachWriter(spec.ID)
		defer detach()
		n.Until("both see the line", func() bool {
			io.WriteString(in, "x\n")
			return strings.Contains(a.String(), "x\n") && strings.Contains(b.String(), "x\n")
		})
	},
	"the first to attach sees output from the start": func(t *testing.T, n *Node) {
		spec := n.Spec("count", "20000", "5")
		spec.HoldOutput = true
		n.Start(spec)
		var out buffer
		if err := n.Attach(t.Context(), spec.ID, container.Stdio{Stdout: &out}); err != nil {
			t.Errorf("Attach = %v", err)
		}
		if got := strings.Count(out.String(), "\n"); got != 20000 || !strings.HasPrefix(out.String(), "line 0\n") {
			t.Errorf("saw %d lines, want 20000", got)
		}
		if st := n.WaitFor(spec.ID); st.Code != 5 {
			t.Errorf("Code = %d, want 5", st.Code)
		}
	},
	"a terminal has its size": func(t *testing.T, n *Node) {
		spec := n.Spec("tty")
		spec.Stdin, spec.OCI.Process.Terminal = true, true
		n.Start(spec)
		var out buffer
		sizes := make(chan container.Size)
		n.attach(spec.ID, container.Stdio{Stdout: &out, Resize: sizes})
		n.Until("it sees a terminal", func() bool {
			return len(n.Log(spec.Log)) > 0 && strings.HasPrefix(n.Log(spec.Log)[0], "stdout F tty true")
		})
		sizes <- container.Size{Width: 100, Height: 40}
		n.Until("it sees the size", func() bool { return strings.Contains(out.String(), "tty true 100x40") })
	},
}
