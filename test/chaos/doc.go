// Package chaos kills a node's processes under load and looks whether anything
// was lost: containers, lines of their logs, exit codes, and what they hold of
// the machine.
//
// The daemon is this test program under another environment: the node engine on
// its real parts, as the daemon puts them together, behind the CRI socket. The
// keeper is the real one. All of it lives in a network namespace and in
// directories of the test.
package chaos
