package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/node/container/wire"
)

// The holder is a second process that does nothing but hold duplicates of the
// keeper's descriptors, as the daemon does. A named pipe that nobody has open
// forgets what is in it, and a process that nobody has a pidfd of takes its exit
// code along; so without it a container that ends while both keeper and daemon
// are dead would lose its last lines and its code. It has no part in anything
// else: killed, it is replaced and loses nothing.
const holdSocket = "hold.sock"

// What is asked of a holder. Only get is answered.
const (
	holdPut  = "put"  // Held and its descriptors
	holdGet  = "get"  // Target → Held and its descriptors
	holdDrop = "drop" // Target
	holdQuit = "quit"
)

// Hold is the holder's program. It serves the socket that is its descriptor 3
// and ends when it is asked to or when path, that socket, is gone.
func Hold(path string) error {
	listener := os.NewFile(3, path)
	raw, err := listener.SyscallConn()
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	h := &held{of: map[string]handful{}, quit: make(chan struct{})}
	go func() { // ends with the program
		for {
			var fd int
			var aerr error
			if err := raw.Read(func(l uintptr) bool {
				fd, _, aerr = unix.Accept4(int(l), unix.SOCK_CLOEXEC)
				return aerr != unix.EAGAIN
			}); err != nil || aerr != nil {
				continue
			}
			if conn, err := wire.NewConn(fd); err == nil {
				go h.serve(conn)
			}
		}
	}()
	for {
		select {
		case <-h.quit:
			return nil
		case <-time.After(time.Minute):
			if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
				return nil
			}
		}
	}
}

// held is all that a holder has.
type held struct {
	mu   sync.Mutex
	of   map[string]handful // by container
	once sync.Once
	quit chan struct{}
}

// A handful is one container's.
type handful struct {
	which wire.Held
	fds   []int
}

func (h *held) serve(conn *wire.Conn) {
	defer conn.Close()
	if peer, err := conn.Peer(); err != nil || peer.Uid != uint32(os.Geteuid()) {
		return
	}
	for {
		m, fds, err := conn.Recv()
		if err != nil {
			return
		}
		h.mu.Lock()
		switch m.Call {
		case holdPut:
			var which wire.Held
			if json.Unmarshal(m.Body, &which) != nil {
				wire.CloseAll(fds)
				break
			}
			wire.CloseAll(h.of[which.Status.ID].fds)
			h.of[which.Status.ID] = handful{which, fds}
			fds = nil
		case holdGet:
			var t wire.Target
			_ = json.Unmarshal(m.Body, &t)
			one := h.of[t.ID]
			body, _ := json.Marshal(one.which)
			_ = conn.Send(wire.Message{ID: m.ID, Body: body}, one.fds...)
		case holdDrop:
			var t wire.Target
			_ = json.Unmarshal(m.Body, &t)
			wire.CloseAll(h.of[t.ID].fds)
			delete(h.of, t.ID)
		case holdQuit:
			h.once.Do(func() { close(h.quit) })
		}
		h.mu.Unlock()
		wire.CloseAll(fds)
	}
}

// holder is the keeper's side.
type holder struct {
	k    *Keeper
	path string

	mu   sync.Mutex
	conn *wire.Conn // nil until there is something to hold
}

func (k *Keeper) newHolder() *holder {
	return &holder{k: k, path: filepath.Join(k.dir, holdSocket)}
}

// put gives a container's descriptors to the holder, which is started if need
// be. Without one the container runs all the same.
func (h *holder) put(which wire.Held, fds []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == nil {
		if err := h.start(); err != nil {
			h.k.log.Warn("nobody holds what the keeper has", "err", err)
			return
		}
	}
	h.send(holdPut, which, fds...)
}

// drop lets go of a container that has ended.
func (h *holder) drop(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn != nil {
		h.send(holdDrop, wire.Target{ID: id})
	}
}

// send asks for something. A holder that has just died is noticed by watch.
func (h *holder) send(call string, body any, fds ...int) {
	data, err := json.Marshal(body)
	if err == nil {
		err = h.conn.Send(wire.Message{Call: call, Body: data}, fds...)
	}
	if err != nil {
		h.k.log.Debug("holder not told", "call", call, "err", err)
	}
}

// find connects to the holder that an earlier keeper has started; nil if there
// is none.
func (h *holder) find() *wire.Conn {
	conn, err := wire.Dial(h.path)
	if err != nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conn = conn
	return conn
}

// get asks for what is held of a container. It is for adopt, before watch runs.
func (h *holder) get(id string) (which wire.Held, fds []int) {
	if h.conn == nil {
		return which, nil
	}
	h.send(holdGet, wire.Target{ID: id})
	m, fds, err := h.conn.Recv()
	if err != nil || json.Unmarshal(m.Body, &which) != nil {
		wire.CloseAll(fds)
		return wire.Held{}, nil
	}
	return which, fds
}

// start makes a holder. It gets its socket from us, so that it can be connected
// to at once.
func (h *holder) start() error {
	listener, err := listen(h.path, nil)
	if err != nil {
		return err
	}
	defer listener.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	var p *os.Process
	err = h.k.reaper.birth(func() (int, error) {
		p, err = os.StartProcess("/proc/self/exe", []string{os.Args[0], "hold", h.path}, &os.ProcAttr{
			Dir: "/", Env: []string{"GOGC=25"}, Files: []*os.File{null, null, null, listener},
			Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			return 0, err
		}
		return p.Pid, nil
	})
	if err != nil {
		return fmt.Errorf("start holder: %w", err)
	}
	h.k.reaper.forget(p.Pid) // its end is nobody's business
	_ = p.Release()
	if h.conn, err = wire.Dial(h.path); err != nil {
		return fmt.Errorf("start holder: %w", err)
	}
	go h.watch(h.conn) // ends with the connection
	return nil
}

// watch replaces a holder that ends, and gives the next one everything.
func (h *holder) watch(conn *wire.Conn) {
	conn.Wait() // it says nothing
	h.mu.Lock()
	mine := h.conn == conn
	if mine {
		h.conn = nil
	}
	h.mu.Unlock()
	if !mine {
		return // we let go
	}
	conn.Close()
	h.k.log.Warn("holder is gone, starting another")
	for _, b := range h.k.boxes() {
		h.renew(b)
	}
}

// renew has the holder hold what the keeper now has of a running container.
func (h *holder) renew(b *box) {
	which, fds := b.held()
	defer wire.CloseAll(fds)
	if len(fds) == 0 {
		return
	}
	h.put(which, fds)
	select {
	case <-b.done: // so its drop may have come first
		h.drop(b.id)
	default:
	}
}

// close lets go of the holder, or ends it and waits until it is gone.
func (h *holder) close(quit bool) {
	if quit && h.conn == nil {
		h.find()
	}
	h.mu.Lock()
	conn := h.conn
	h.conn = nil // so that watch starts no other
	h.mu.Unlock()
	if conn == nil {
		return
	}
	if quit && conn.Send(wire.Message{Call: holdQuit}) == nil {
		gone := time.AfterFunc(time.Second, func() { conn.Close() })
		_, _, _ = conn.Recv()
		gone.Stop()
		_ = os.Remove(h.path)
	}
	conn.Close()
}
