package keeper

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// stuck is how long an attached reader may hold up a container's output.
const stuck = time.Minute

// A tap copies a stream to somebody who is attached, through a pipe. A reader
// that is slow slows the container down, as a terminal does, so that it misses
// nothing; one that is stuck is let go.
type tap struct {
	key     string
	stream  *stream
	fd      int
	pending []byte // what did not fit
	last    bool   // close after pending: the stream has ended
	timer   *time.Timer
}

// taps are all of a container. Only the loop uses them.
type taps struct {
	loop *loop
	list []*tap
}

// add begins to copy s to fd, which the tap then owns.
func (t *taps) add(key string, s *stream, fd int) {
	if !s.open {
		unix.Close(fd)
		return
	}
	t.list = append(t.list, &tap{key: key, stream: s, fd: fd})
}

// write gives data of s to all who listen.
func (t *taps) write(s *stream, data []byte) {
	for _, p := range slices.Clone(t.list) {
		if p.stream == s {
			p.send(t, data)
		}
	}
}

func (p *tap) send(t *taps, data []byte) {
	if len(p.pending) > 0 {
		p.pending = append(p.pending, data...)
		return
	}
	rest, ok := p.push(data)
	if !ok {
		t.drop(p)
		return
	}
	if len(rest) == 0 {
		return
	}
	p.pending = append([]byte(nil), rest...)
	p.stream.waiting++
	p.timer = time.AfterFunc(stuck, func() {
		t.loop.do(func() {
			p.stream.box.log.Warn("an attached client does not read, letting it go")
			t.drop(p)
		})
	})
	if t.loop.watch(p.fd, unix.EPOLLOUT, func(uint32) { p.flush(t) }) != nil {
		t.drop(p)
	}
}

// push writes what the pipe takes; ok is false when nobody reads any more.
func (p *tap) push(data []byte) (rest []byte, ok bool) {
	for len(data) > 0 {
		n, err := unix.Write(p.fd, data)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return data, true
		case err != nil:
			return nil, false
		default:
			data = data[n:]
		}
	}
	return nil, true
}

// flush writes on once the pipe takes more.
func (p *tap) flush(t *taps) {
	before := len(p.pending)
	rest, ok := p.push(p.pending)
	switch {
	case !ok:
		t.drop(p)
	case len(rest) > 0:
		p.pending = rest
		if len(rest) < before {
			p.timer.Reset(stuck)
		}
	case p.last:
		t.drop(p)
	default:
		p.caughtUp(t)
		p.stream.resume()
	}
}

func (p *tap) caughtUp(t *taps) {
	t.loop.forget(p.fd)
	p.timer.Stop()
	p.pending, p.timer = nil, nil
	p.stream.waiting--
}

// drop ends a tap, whatever it still had to write.
func (t *taps) drop(p *tap) {
	i := slices.Index(t.list, p)
	if i < 0 {
		return
	}
	t.list = slices.Delete(t.list, i, i+1)
	if p.timer != nil {
		p.caughtUp(t)
	}
	unix.Close(p.fd)
	p.stream.resume()
}

// dropKey ends the taps of one attachment.
func (t *taps) dropKey(key string) {
	for _, p := range slices.Clone(t.list) {
		if p.key == key {
			t.drop(p)
		}
	}
}

// end closes the taps of a stream that has ended, after what they still have.
func (t *taps) end(s *stream) {
	for _, p := range slices.Clone(t.list) {
		if p.stream == s {
			p.last = true
			if len(p.pending) == 0 {
				t.drop(p)
			}
		}
	}
}

// letGo begins to read outputs that were kept back until somebody attached.
func (b *box) letGo() {
	for _, s := range b.streams {
		if s.held {
			s.held = false
			s.resume()
		}
	}
}

// attachPipe is how much of a stream an attached reader may be behind before
// the container has to wait.
const attachPipe = 256 << 10

// attach makes a tap for each stream that is asked for and returns the reading
// ends, in the order stdout, stderr. A stream that has ended reads as such.
func (b *box) attach(req wire.Attach) ([]int, error) {
	var reads []int
	// Only when all taps are there, and for streams that nobody asked for too.
	defer b.loop.wait(b.letGo)
	for _, want := range []struct {
		name streamName
		ask  bool
	}{{stdout, req.Stdout}, {stderr, req.Stderr}} {
		if !want.ask {
			continue
		}
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return reads, fmt.Errorf("attach: pipe: %w", err)
		}
		unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, attachPipe) // or stay at the default
		reads = append(reads, ends[0])
		b.loop.wait(func() {
			for _, s := range b.streams {
				if s.name == want.name {
					b.taps.add(req.Key, s, ends[1])
					return
				}
			}
			unix.Close(ends[1]) // a terminal has no stderr
		})
	}
	return reads, nil
}
