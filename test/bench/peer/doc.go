// Package peer sets up what is measured: Sampan, and others that do the same.
//
// Each stands in a room: a network namespace of its own, joined to the machine
// by a veth pair, with a directory for all its state. So the peers meet neither
// each other nor what already runs on the machine, and closing a peer leaves
// nothing. All get the same image, of one static program.
package peer
