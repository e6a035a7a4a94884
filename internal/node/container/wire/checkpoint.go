package wire

import "time"

// CallCheckpoint writes a container's processes into files: Checkpoint → nothing.
const CallCheckpoint = "checkpoint"

// Checkpoint says how. It runs to its end whatever becomes of who asks: a CRIU
// that is killed may take the container along.
type Checkpoint struct {
	ID       string        `json:"id"`
	Binary   string        `json:"binary"`             // CRIU
	Images   string        `json:"images"`             // an empty directory
	External []string      `json:"external,omitempty"` // what a dump leaves out, but for input and outputs
	Frozen   string        `json:"frozen,omitempty"`   // a program to run while the processes stand still
	Freeze   time.Duration `json:"freeze"`             // how long stopping them may take
}

// Restore in a Start makes the processes of images in place of starting one.
type Restore struct {
	Binary   string   `json:"binary"`             // CRIU
	Images   string   `json:"images"`             // what a checkpoint wrote
	External []string `json:"external,omitempty"` // where the mounts are that were left out
	KeepTCP  bool     `json:"keepTCP,omitempty"`
}
