// Package local serves the node's containers and images to the command line,
// over the daemon's local socket.
//
// What it speaks is written down in api/local (requests and answers) and
// api/stream (a process's input and output over an upgraded connection).
//
// It sees the containers of every API, so that `sampan ps` shows all that runs,
// and makes its own, the one-offs, which the kubelet never sees: it would end
// what it does not know.
package local
