package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// errGone says that the keeper went away before it answered.
var errGone = fmt.Errorf("the keeper went away: %w", fault.Unavailable)

// errUnasked says so of a request that it has not begun with.
var errUnasked = fmt.Errorf("%w before it was asked", errGone)

// A link is one connection to a keeper.
type link struct {
	conn    *wire.Conn
	keeper  wire.Hello
	onEvent func(wire.Message)
	gone    chan struct{} // closed when it has ended

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan reply
	ended   bool
}

type reply struct {
	wire.Message
	files []*os.File
}

// newLink greets the keeper at the other end of conn.
func newLink(ctx context.Context, conn *wire.Conn, onEvent func(wire.Message)) (*link, error) {
	l := &link{conn: conn, onEvent: onEvent, gone: make(chan struct{}), waiting: map[uint64]chan reply{}}
	go l.receive() // ends with the connection; close waits for it
	if _, err := l.call(ctx, wire.CallHello, wire.Hello{Version: wire.Version, PID: os.Getpid()}, nil, &l.keeper); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *link) close() {
	l.conn.Close()
	<-l.gone
}

func (l *link) receive() {
	for {
		m, fds, err := l.conn.Recv()
		if err != nil {
			break
		}
		if m.ID == 0 {
			wire.CloseAll(fds)
			l.onEvent(m)
			continue
		}
		l.mu.Lock()
		to := l.waiting[m.ID]
		delete(l.waiting, m.ID)
		l.mu.Unlock()
		if to == nil {
			wire.CloseAll(fds) // its caller gave up
			continue
		}
		to <- reply{m, asFiles(fds)}
	}
	l.conn.Close()
	l.mu.Lock()
	l.ended = true
	for _, to := range l.waiting {
		close(to)
	}
	l.waiting = nil
	l.mu.Unlock()
	close(l.gone)
}

// call sends a request and decodes its answer.
func (l *link) call(ctx context.Context, call string, body any, fds []int, answer any) ([]*os.File, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("keeper: %s: %w", call, err)
	}
	to := make(chan reply, 1)
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return nil, errUnasked
	}
	l.last++
	id := l.last
	l.waiting[id] = to
	l.mu.Unlock()
	if err := l.conn.Send(wire.Message{ID: id, Call: call, Body: data}, fds...); err != nil {
		l.giveUp(id, to)
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
			return nil, fmt.Errorf("%w: %w", errUnasked, err)
		}
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	select {
	case got, ok := <-to:
		if !ok {
			return nil, errGone
		}
		return got.decode(call, answer)
	case <-ctx.Done():
		l.giveUp(id, to)
		return nil, fmt.Errorf("keeper: %s: %w", call, ctx.Err())
	}
}

// giveUp forgets a request; its answer's descriptors are closed.
func (l *link) giveUp(id uint64, to chan reply) {
	l.mu.Lock()
	delete(l.waiting, id)
	l.mu.Unlock()
	select {
	case got := <-to:
		closeFiles(got.files)
	default:
	}
}

func (r reply) decode(call string, answer any) ([]*os.File, error) {
	if r.Err != nil {
		closeFiles(r.files)
		return nil, asError(r.Err)
	}
	if answer != nil {
		if err := json.Unmarshal(r.Body, answer); err != nil {
			closeFiles(r.files)
			return nil, fmt.Errorf("keeper: answer to %s: %w", call, err)
		}
	}
	return r.files, nil
}

// A StartError is a start that failed at a step: a system call, and what it was
// to act on. Step "exec" is the container's own program.
type StartError struct {
	text  string
	cause *launch.StepError
	kind  fault.Kind
}

func (e *StartError) Error() string { return e.text }

// Unwrap gives the step, and whose fault it is.
func (e *StartError) Unwrap() []error {
	if e.kind == "" {
		return []error{e.cause}
	}
	return []error{e.cause, e.kind}
}

// asError makes an error of what came over the wire.
func asError(e *wire.Error) error {
	kind := fault.Kind(e.Kind)
	switch {
	case e.Kind == wire.Again:
		return errUnasked
	case e.Step != "":
		return &StartError{text: e.Text, kind: kind, cause: &launch.StepError{Step: e.Step, Path: e.Path, Errno: errno(e.Errno)}}
	case kind != "":
		return &kindError{e.Text, kind}
	}
	return errors.New(e.Text)
}

// kindError is an error whose text already tells its kind.
type kindError struct {
	text string
	kind fault.Kind
}

func (e *kindError) Error() string { return e.text }
func (e *kindError) Unwrap() error { return e.kind }
