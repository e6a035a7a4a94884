// Package e2e runs a whole cloud the way a user would: bin/sampan, typed
// commands, real containers. The cloud stands in a network namespace of its own
// with its own data directory, so that it meets neither one that already runs on
// the machine nor another test.
package e2e
