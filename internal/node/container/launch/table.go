package launch

import (
	"fmt"
	"math"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// notRun is the result of an entry that the child has not reached. No system
// call returns it.
const notRun = math.MaxInt64

// entry is one system call of a table. The assembly knows its layout.
type entry struct {
	nr       uintptr
	args     [6]uintptr
	result   int64
	unless   uintptr    // address of an earlier result: run only if that call failed
	tolerate [2]uint64  // bit set of errnos after which the child goes on
	into     [2]uintptr // where the result is stored as well: arguments of later entries
}

// header is what the assembly starts from. It knows this layout too.
type header struct {
	block    uint64  // every signal
	saved    uint64  // the parent's signal mask during the call
	at       uintptr // the entry that the child is at
	first    uintptr
	end      uintptr
	clone    uintptr // arguments of clone3
	cloneLen uintptr
}

// cloneArgs is struct clone_args of clone3(2).
type cloneArgs struct {
	flags, pidfd, childTid, parentTid, exitSignal uint64
	stack, stackSize, tls                         uint64
	setTid, setTidSize, cgroup                    uint64
}

// step names an entry for people.
type step struct{ name, path string }

// table is a program of system calls in memory of its own: the child runs it
// while Go's threads go on, so nothing in it may move or be freed.
type table struct {
	mem   []byte
	hdr   *header
	steps []step
	room  int // entries that fit
	free  int // offset of the first free byte
	limit time.Duration
	err   error
}

// newTable makes room for so many entries and bytes of data.
func newTable(entries, data int) (*table, error) {
	size := int(unsafe.Sizeof(header{})) + entries*int(unsafe.Sizeof(entry{})) + data
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("memory for the start table: %w", err)
	}
	t := &table{mem: mem, hdr: (*header)(unsafe.Pointer(&mem[0])), room: entries, limit: limit}
	t.steps = make([]step, 0, entries/2) // most need less, and growing would copy
	t.free = int(unsafe.Sizeof(header{})) + entries*int(unsafe.Sizeof(entry{}))
	t.hdr.block = math.MaxUint64
	t.hdr.first = uintptr(unsafe.Pointer(t.entry(0)))
	t.hdr.end = t.hdr.first
	return t, nil
}

func (t *table) close() { _ = unix.Munmap(t.mem) }

func (t *table) entry(i int) *entry {
	return (*entry)(unsafe.Pointer(&t.mem[unsafe.Sizeof(header{})+uintptr(i)*unsafe.Sizeof(entry{})]))
}

// call appends one system call. The step and the path name it when it fails.
func (t *table) call(name, path string, nr uintptr, args ...uintptr) *entry {
	if len(t.steps) == t.room {
		t.err = fmt.Errorf("more than %d steps: %w", t.room, fault.Exhausted)
		return &entry{} // keeps the callers simple; run reports t.err
	}
	e := t.entry(len(t.steps))
	e.nr, e.result = nr, notRun
	copy(e.args[:], args)
	t.steps = append(t.steps, step{name: name, path: path})
	t.hdr.end += unsafe.Sizeof(entry{})
	return e
}

// except lets the child go on after these errors.
func (e *entry) except(errs ...syscall.Errno) *entry {
	for _, n := range errs {
		e.tolerate[n/64] |= 1 << (n % 64)
	}
	return e
}

// ifFailed makes e run only when the earlier call failed.
func (e *entry) ifFailed(earlier *entry) *entry {
	e.unless = uintptr(unsafe.Pointer(&earlier.result))
	return e
}

// feeds stores e's result as an argument of a later call. There is room for two.
func (e *entry) feeds(later *entry, arg int) *entry {
	slot := &e.into[0]
	if *slot != 0 {
		slot = &e.into[1]
	}
	*slot = uintptr(unsafe.Pointer(&later.args[arg]))
	return e
}

// alloc reserves n zero bytes, aligned for any structure.
func (t *table) alloc(n int) []byte {
	at := (t.free + 7) &^ 7
	if at+n > len(t.mem) {
		t.err = fmt.Errorf("start table: arguments and environment too long: %w", unix.E2BIG)
		return make([]byte, n)
	}
	t.free = at + n
	return t.mem[at : at+n : at+n]
}

// str copies s, ended by a zero byte, and returns its address.
func (t *table) str(s string) uintptr {
	b := t.alloc(len(s) + 1)
	copy(b, s)
	return uintptr(unsafe.Pointer(&b[0]))
}

// strs is a null-terminated array of strings, as execve wants it.
func (t *table) strs(list []string) uintptr {
	b := t.alloc((len(list) + 1) * 8)
	p := unsafe.Slice((*uintptr)(unsafe.Pointer(&b[0])), len(list)+1)
	for i, s := range list {
		p[i] = t.str(s)
	}
	return uintptr(unsafe.Pointer(&b[0]))
}

// put copies a value into the table and returns its address.
func put[T any](t *table, v T) uintptr {
	return uintptr(unsafe.Pointer(place(t, v)))
}

// place is put for a value that the parent reads afterwards.
func place[T any](t *table, v T) *T {
	b := t.alloc(int(unsafe.Sizeof(v)))
	p := (*T)(unsafe.Pointer(&b[0]))
	*p = v
	return p
}

// bytes copies b and returns its address; of an empty one, zero.
func (t *table) bytes(b []byte) uintptr {
	if len(b) == 0 {
		return 0
	}
	c := t.alloc(len(b))
	copy(c, b)
	return uintptr(unsafe.Pointer(&c[0]))
}
