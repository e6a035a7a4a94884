// Package local is what the daemon's local socket speaks: HTTP/1.1 over a unix
// socket that only root may open. An error is an Error as JSON with the status
// of its kind.
//
//	GET    /v1/containers[?all=true]         []Container
//	POST   /v1/run                           Run; upgrades to stream.Protocol
//	POST   /v1/containers/{id}/exec          Exec; upgrades to stream.Protocol
//	POST   /v1/containers/{id}/stop[?timeout=10s]
//	DELETE /v1/containers/{id}[?force=true]
//	GET    /v1/containers/{id}/logs[?follow=true&tail=100&timestamps=true]   text
//	GET    /v1/images                        []Image
//	POST   /v1/images/pull                   Name; Progress lines
//	POST   /v1/images/push                   Name; Progress lines
//	POST   /v1/images/load                   an archive; Progress lines
//	GET    /v1/images/save?name=…            an archive
//	POST   /v1/images/tag                    Tag
//	POST   /v1/images/build-deb              BuildDeb; Progress lines
//	DELETE /v1/images?name=…
//	POST   /v1/images/prune                  Pruned
//
// {id} is a container's ID, a unique beginning of it, or its name. Progress lines
// are JSON objects, one a line; the last one has Done or Error.
package local

import "time"

// Error is the answer to a call that failed.
type Error struct {
	Error string `json:"error"`
	Kind  string `json:"kind"`
	// ExitCode is that of a program that could not be executed, as a shell gives
	// it: 127 when it is not there, else 126.
	ExitCode int `json:"exitCode,omitempty"`
}

// Container is a container on this node, a pod's or a one-off.
type Container struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Pod       string            `json:"pod,omitempty"`
	Namespace string            `json:"namespace,omitempty"`
	Image     string            `json:"image"`
	State     string            `json:"state"` // created, running, exited
	Code      int               `json:"exitCode"`
	Reason    string            `json:"reason,omitempty"`
	IP        string            `json:"ip,omitempty"`
	Runtime   string            `json:"runtime"`                 // native, or the OCI runtime's handler
	Why       string            `json:"runtimeReason,omitempty"` // what the native runtime cannot do, where nobody asked for another
	Created   time.Time         `json:"created"`
	Started   time.Time         `json:"started,omitzero"`
	Labels    map[string]string `json:"labels,omitempty"` // of the pod
	PID       int               `json:"pid,omitempty"`
	OneOff    bool              `json:"oneOff"`
}

// Run asks for a one-off container.
type Run struct {
	Image      string   `json:"image"`
	Name       string   `json:"name,omitempty"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Args       []string `json:"args,omitempty"`
	Env        []string `json:"env,omitempty"`
	Workdir    string   `json:"workdir,omitempty"`
	User       string   `json:"user,omitempty"`
	TTY        bool     `json:"tty,omitempty"`
	Width      uint16   `json:"width,omitempty"` // of the terminal
	Height     uint16   `json:"height,omitempty"`
	Stdin      bool     `json:"stdin,omitempty"`
	Remove     bool     `json:"remove,omitempty"`  // when it has ended
	Network    string   `json:"network,omitempty"` // bridge, host or none
	Publish    []string `json:"publish,omitempty"` // [hostIP:]hostPort:port[/protocol]
	Mounts     []Mount  `json:"mounts,omitempty"`
	CPU        float64  `json:"cpu,omitempty"`    // processors
	Memory     int64    `json:"memory,omitempty"` // bytes
	Privileged bool     `json:"privileged,omitempty"`
	Runtime    string   `json:"runtime,omitempty"` // handler; empty is the native path
}

// Mount is a directory or file of the host inside a container.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Started says which container a Run has started.
type Started struct {
	ID string `json:"id"`
}

// Exec asks for one more process in a container.
type Exec struct {
	Args   []string `json:"args"`
	Env    []string `json:"env,omitempty"`
	User   string   `json:"user,omitempty"`
	TTY    bool     `json:"tty,omitempty"`
	Width  uint16   `json:"width,omitempty"`
	Height uint16   `json:"height,omitempty"`
	Stdin  bool     `json:"stdin,omitempty"`
}

// Image is an image on this node.
type Image struct {
	ID      string    `json:"id"`
	Names   []string  `json:"names"`
	Digests []string  `json:"digests,omitempty"`
	Size    int64     `json:"size"`
	Created time.Time `json:"created,omitzero"`
	Pinned  bool      `json:"pinned,omitempty"`
}

// Name names an image, with the credential of its registry where it wants one.
type Name struct {
	Name     string `json:"name"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// Tag gives an image one more name.
type Tag struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// BuildDeb asks for an image of Debian packages and their dependencies.
type BuildDeb struct {
	Name       string   `json:"name"`
	Packages   []string `json:"packages"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
}

// Progress is one line of what a long call reports.
type Progress struct {
	ID    string `json:"id,omitempty"`    // what moves: a blob's digest, a step's name
	Step  string `json:"step,omitempty"`  // what is done with it
	Now   int64  `json:"now,omitempty"`   // bytes
	Total int64  `json:"total,omitempty"` // bytes, 0 while unknown
	Done  *Image `json:"done,omitempty"`  // the last line: the image
	Error *Error `json:"error,omitempty"` // the last line: why not
}

// Pruned tells what was deleted.
type Pruned struct {
	Freed int64 `json:"freed"` // bytes
}
