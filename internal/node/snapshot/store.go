package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Config holds the settings of a Store. Root is required.
type Config struct {
	Root string // directory of the store; made when it is not there
}

// Store keeps layers and prepared filesystems below one directory. All methods
// may be called at once. It must be closed after Run has returned.
type Store struct {
	root string
	disk disk
	log  *slog.Logger
	lock *os.File
	wake chan struct{} // tells Run that there is trash

	mu     sync.Mutex
	next   uint64
	layers map[string]*entry // by key
	mounts map[string]*entry // prepared filesystems by name
}

// entry is a layer or a prepared filesystem, or one that is being made.
type entry struct {
	record
	n    uint64
	on   uint64        // the number of the layer below
	done chan struct{} // closed once it is on disk, or err says why it is not
	err  error
}

// record is what the file of that name in a layer's directory says.
type record struct {
	Kind   kind   `json:"kind"`
	Key    string `json:"key"`              // a layer's key, a filesystem's name
	Parent string `json:"parent,omitempty"` // key of the layer below
	Bytes  uint64 `json:"bytes,omitempty"`  // of a layer
}

type kind string

const (
	layer    kind = "layer"
	writable kind = "writable"
	view     kind = "view"
)

// base is the number of the empty directory under what has no parent: overlay
// wants something below.
const base = 0

// Open opens the store below cfg.Root and throws half-made entries away. It
// fails when another process has the store open, or when the kernel or the
// filesystem cannot do what overlays need.
func Open(cfg Config, log *slog.Logger) (*Store, error) {
	s, err := open(cfg, host{}, log)
	if err != nil {
		return nil, fmt.Errorf("snapshot store %s: %w", cfg.Root, exhausted(err))
	}
	return s, nil
}

func open(cfg Config, d disk, log *slog.Logger) (*Store, error) {
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return nil, err
	}
	s := &Store{
		root: root, disk: d, log: log, wake: make(chan struct{}, 1), next: base + 1,
		layers: make(map[string]*entry), mounts: make(map[string]*entry),
	}
	for _, dir := range []string{"new", "snapshots", "work", "trash"} {
		// 0700: the files of images include set-user-ID programs.
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			return nil, err
		}
	}
	if err := s.acquire(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// acquire takes the store for this process. The kernel gives it back when the
// process ends, however it ends.
func (s *Store) acquire() error {
	f, err := os.OpenFile(filepath.Join(s.root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return fmt.Errorf("in use by another process: %w", fault.Precondition)
	}
	s.lock = f
	return nil
}

// Close lets go of the store. Nothing on disk changes.
func (s *Store) Close() error { return s.lock.Close() }

func (s *Store) makeBase() error {
	for _, dir := range []string{s.path("snapshots", num(base)), s.path("snapshots", num(base), "fs")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// enter makes an entry, on the layer with the number on, that others can wait
// for. The caller holds s.mu, and must call settle.
func (s *Store) enter(r record, on uint64) *entry {
	e := &entry{record: r, n: s.next, on: on, done: make(chan struct{})}
	s.next++
	s.table(r.Kind)[r.Key] = e
	return e
}

// settle ends the making of e: with an error it was never there.
func (s *Store) settle(e *entry, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.table(e.Kind), e.Key)
	}
	e.err = err
	close(e.done)
	return err
}

func (s *Store) table(k kind) map[string]*entry {
	if k == layer {
		return s.layers
	}
	return s.mounts
}

// wait returns once e is made, or why it is not. again is true when its maker
// gave up for reasons of its own, and the caller should try.
func (e *entry) wait(ctx context.Context) (again bool, err error) {
	select {
	case <-e.done:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	kind := fault.Of(e.err)
	return kind == fault.Canceled || kind == fault.Timeout, e.err
}

// waitFor is e.wait for a caller that holds s.mu: others go on meanwhile.
func (s *Store) waitFor(ctx context.Context, e *entry) (again bool, err error) {
	s.mu.Unlock()
	defer s.mu.Lock()
	return e.wait(ctx)
}

func (e *entry) settled() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.root}, elem...)...)
}

func num(n uint64) string { return strconv.FormatUint(n, 10) }
