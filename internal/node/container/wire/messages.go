// Package wire is how the daemon and the keeper talk: messages in JSON behind a
// length, over a unix stream socket, with file descriptors beside them.
//
// A request carries an ID and its answer the same one; many may be under way.
// What the keeper tells unasked (an exit) has no ID. Each side says its Version
// first; both may be older or newer than the other, since the keeper outlives
// the daemon: fields are added, never changed.
//
// It imports nothing heavy, because the keeper must stay small.
package wire

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Version counts changes that an older peer would misunderstand.
const Version = 1

// Message is one frame.
type Message struct {
	ID   uint64          `json:"id,omitempty"`
	Call string          `json:"call,omitempty"`
	Body json.RawMessage `json:"body,omitempty"`
	Err  *Error          `json:"err,omitempty"`
}

// The calls, and what goes in and out of them.
const (
	CallHello   = "hello"   // Hello → Hello
	CallStart   = "start"   // Start + cgroup joins → Status + held descriptors
	CallExec    = "exec"    // Exec + stdio → Started + pidfd and, with a terminal, its master
	CallReaped  = "reaped"  // Target → Ended, once the exec has ended
	CallAttach  = "attach"  // Attach → nothing + streams
	CallDetach  = "detach"  // Target → nothing
	CallStdin   = "stdin"   // Target: close the container's input for good
	CallReopen  = "reopen"  // Target → nothing
	CallDelete  = "delete"  // Target → nothing
	CallHold    = "hold"    // Target → Held + the descriptors that the daemon should hold
	CallReturn  = "return"  // Held + the same descriptors: a former keeper's, handed back
	CallList    = "list"    // List → []Status
	CallControl = "control" // Control → nothing: what only a stock runtime can do
	CallUpgrade = "upgrade" // Upgrade → nothing, and the keeper executes itself anew
	CallQuit    = "quit"    // nothing → nothing, and the keeper ends
	EventExit   = "exit"    // Status, unasked
	EventLog    = "log"     // LogTrouble, unasked
)

// Hello is the first message each way.
type Hello struct {
	Version int    `json:"version"`
	PID     int    `json:"pid,omitempty"`
	Build   string `json:"build,omitempty"` // the program's digest
}

// Root is what the container's / is made of, as in container.Rootfs.
type Root struct {
	Base  string   `json:"base"`
	Lower []string `json:"lower,omitempty"`
	Upper string   `json:"upper,omitempty"`
	Work  string   `json:"work,omitempty"`
}

// Start runs a container.
type Start struct {
	ID           string        `json:"id"`
	OCI          *specs.Spec   `json:"oci"`
	Root         Root          `json:"root"`
	Filter       []byte        `json:"filter,omitempty"`       // compiled seccomp program, 8 bytes an instruction
	FilterFlags  uint          `json:"filterFlags,omitempty"`  // for seccomp(2)
	CgroupMounts []CgroupMount `json:"cgroupMounts,omitempty"` // what a mount of type cgroup shows
	Cgroup       string        `json:"cgroup,omitempty"`       // the container's, below the hierarchies' roots
	Cgroups      []string      `json:"cgroups,omitempty"`      // and its directories
	Restore      *Restore      `json:"restore,omitempty"`      // nil starts the specification's process
	Log          Log           `json:"log,omitzero"`
	Stdin        bool          `json:"stdin,omitempty"`
	StdinOnce    bool          `json:"stdinOnce,omitempty"`
	Hold         bool          `json:"hold,omitempty"` // keep the output back until the first attach
	Runtime      string        `json:"runtime,omitempty"`
	Binary       string        `json:"binary,omitempty"` // the stock runtime's program, with Runtime
	Aside        string        `json:"aside,omitempty"`  // its cgroup, if the runtime must not see the v2 side of a hybrid machine
}

// CgroupMount is launch.CgroupMount.
type CgroupMount struct {
	Name   string `json:"name,omitempty"`
	Source string `json:"source"`
}

// Log says where output is written.
type Log struct {
	Path  string `json:"path,omitempty"`
	Size  int64  `json:"size,omitempty"`
	Files int    `json:"files,omitempty"`
}

// LogTrouble tells that a container's log cannot be written, or can be again.
type LogTrouble struct {
	ID   string `json:"id"`
	Path string `json:"path"`
	Err  string `json:"err,omitempty"`  // why it stops
	Lost int64  `json:"lost,omitempty"` // bytes that are missing where it goes on
}

// Status is container.Status.
type Status struct {
	ID       string    `json:"id"`
	Exited   bool      `json:"exited,omitempty"`
	Lost     bool      `json:"lost,omitempty"` // ended while no keeper was there to see it
	PID      int       `json:"pid,omitempty"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	Code     int       `json:"code"`
	OOM      bool      `json:"oom,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Runtime  string    `json:"runtime,omitempty"`
	Binary   string    `json:"binary,omitempty"`
	Terminal bool      `json:"terminal,omitempty"`
	Once     bool      `json:"once,omitempty"` // its input ends with the first attachment
	Cgroup   string    `json:"cgroup,omitempty"`
	Cgroups  []string  `json:"cgroups,omitempty"`
}

// Target names a container, an exec or an attachment.
type Target struct {
	ID string `json:"id"`
}

// Exec runs one more process in a container. Its descriptors are the streams
// that the flags name, in that order; a terminal is made by the keeper. It has
// the container's own seccomp filter.
type Exec struct {
	ID      string         `json:"id"`
	Process *specs.Process `json:"process"`
	Joins   int            `json:"joins,omitempty"` // cgroup files before the streams
	Stdin   bool           `json:"stdin,omitempty"`
	Stdout  bool           `json:"stdout,omitempty"`
	Stderr  bool           `json:"stderr,omitempty"`
}

// Started tells of an exec that runs.
type Started struct {
	Exec string `json:"exec"`
	PID  int    `json:"pid"`
}

// Ended is an exec's end.
type Ended struct {
	Code int `json:"code"`
}

// Attach asks for a container's output. The answer's descriptors are the
// reading ends that the flags name and, with Stdin, the writing end of the input.
type Attach struct {
	ID     string `json:"id"`
	Key    string `json:"key"` // names the attachment in CallDetach
	Stdin  bool   `json:"stdin,omitempty"`
	Stdout bool   `json:"stdout,omitempty"`
	Stderr bool   `json:"stderr,omitempty"`
}

// Held says which descriptors of a container come with the message, in this
// order. The daemon holds them so that they outlive the keeper.
type Held struct {
	Status Status `json:"status"`
	Pidfd  bool   `json:"pidfd,omitempty"`
	Master bool   `json:"master,omitempty"`
	Stdin  bool   `json:"stdin,omitempty"`
	Stdout bool   `json:"stdout,omitempty"`
	Stderr bool   `json:"stderr,omitempty"`
}

// List asks for all containers. Settle says that nothing more will be handed
// back: what is not known by then never will be.
type List struct {
	Settle bool `json:"settle,omitempty"`
}

// Control asks a stock runtime to act on its container.
type Control struct {
	ID        string                `json:"id"`
	Resources *specs.LinuxResources `json:"resources,omitempty"`
}

// Upgrade names the program to go on as; empty is the one that runs.
type Upgrade struct {
	Binary string `json:"binary,omitempty"`
}

// Error is a failure on the way back. Kind is one of package fault's, whose
// import would make the keeper large.
type Error struct {
	Kind  string `json:"kind,omitempty"`
	Text  string `json:"text"`
	Step  string `json:"step,omitempty"`
	Path  string `json:"path,omitempty"`
	Errno int    `json:"errno,omitempty"`
}

func (e *Error) Error() string { return e.Text }

// The kinds of failure that the keeper knows, as package fault spells them.
const (
	Invalid      = "invalid"
	NotFound     = "not found"
	Exists       = "already exists"
	Precondition = "not possible now"
	Unsupported  = "not supported"

	Again = "again" // nothing has been done; it may be asked for again at once
)

// Errorf makes an Error of a kind.
func Errorf(kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}
