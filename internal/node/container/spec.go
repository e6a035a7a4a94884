// Package container runs, checkpoints and restores the processes of one
// container, through the keeper.
//
// The keeper (cmd/sampan-keeper) is a small program, one per node, that is the
// parent of every container: it starts them, reaps them, keeps their pidfds,
// terminals and pipes, and writes their logs. It outlives the daemon. This
// package is both ends of it: Runtime, which the daemon uses, and
// container/keeper, which the program is made of.
//
// A container is described by an OCI runtime specification plus what that
// leaves out (Spec). The native path turns it into a table of system calls that
// a child of the keeper runs up to execve (container/launch); a stock OCI
// runtime is another path behind the same calls.
package container

import (
	"io"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/node/container/cgroup"
	"github.com/sampan-cloud/sampan/internal/node/container/launch"
)

// Spec is a container to start. It holds all that a start, a restart of the
// daemon or a restore needs, and is kept in the container's record.
type Spec struct {
	ID   string      `json:"id"`
	OCI  *specs.Spec `json:"oci"`  // process, mounts, namespaces (those with a Path are joined), linux
	Root Rootfs      `json:"root"` // what / is; OCI.Root gives only Readonly

	Restore *Restore `json:"restore,omitempty"` // what to restore in place of starting the process

	Log        string `json:"log,omitempty"`        // file for output in CRI format; empty keeps none
	LogSize    int64  `json:"logSize,omitempty"`    // bytes after which the keeper rotates it; zero leaves that to ReopenLog
	LogFiles   int    `json:"logFiles,omitempty"`   // how many files rotation keeps
	Stdin      bool   `json:"stdin,omitempty"`      // keep an input open for Attach
	StdinOnce  bool   `json:"stdinOnce,omitempty"`  // close it when the first Attach ends
	HoldOutput bool   `json:"holdOutput,omitempty"` // read no output before the first Attach, so that it misses nothing
	Runtime    string `json:"runtime,omitempty"`    // handler: "" is the native path, else a configured OCI runtime
}

// Rootfs says what a container's / is made of: an overlay when Lower is set,
// else the directory Base.
type Rootfs = launch.Rootfs

// Phase is where a container or an exec is in its life.
type Phase string

// The phases.
const (
	Running Phase = "running"
	Exited  Phase = "exited"
)

// Status is what the keeper knows of a container that it started.
type Status struct {
	ID       string    `json:"id"`
	Phase    Phase     `json:"phase"`
	PID      int       `json:"pid"` // in the host's namespace; 0 once exited
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	Code     int       `json:"code"`          // exit code; 128+n after signal n; 255 when nobody could read it
	OOM      bool      `json:"oom,omitempty"` // the kernel killed a process of it for memory
	Reason   string    `json:"reason,omitempty"`
	Runtime  string    `json:"runtime,omitempty"` // handler; "" is the native path
}

// Exit tells that a container has ended and its output is written.
type Exit struct {
	Status
}

// Stdio is the other side of a container's input and output while somebody is
// attached. Nil members are not connected. Resize gives new terminal sizes.
type Stdio struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Resize <-chan Size
}

// Size is a terminal's size in characters.
type Size struct{ Width, Height uint16 }

// Namespaces are the paths by which a pod's shared namespaces are joined. An
// empty path is the host's.
type Namespaces struct {
	Net  string `json:"net,omitempty"`
	IPC  string `json:"ipc,omitempty"`
	UTS  string `json:"uts,omitempty"`
	User string `json:"user,omitempty"`
}

// Stats is what a container or a pod's cgroup has used.
type Stats = cgroup.Stats

// NamespaceRequest says which namespaces a pod's containers share.
type NamespaceRequest struct {
	IPC, UTS bool
	Hostname string
	Sysctls  map[string]string // those that an IPC or UTS namespace holds

	// UIDs and GIDs, when given, ask for a user namespace that the others belong
	// to. Net asks for a network namespace of its, which only it can have made.
	UIDs, GIDs []specs.LinuxIDMapping
	Net        bool
}
