// Package local serves the node's containers and images to the command line,
// over the daemon's local socket.
//
// What it speaks is written down in api/local (requests and answers) and
// api/stream (a process's input and output over an upgraded connection).
package local
