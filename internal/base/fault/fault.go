// Package fault says what kind of failure an error is, so that every API can
// answer with its own status.
//
// A Kind is itself an error: wrap it where the kind is known, and ask for it at
// the edge, where an answer is written.
//
//	return fmt.Errorf("blob %s: %w", digest, fault.NotFound)
package fault

import (
	"context"
	"errors"
	"io/fs"
)

// Kind is what sort of failure an error is. Its text ends the error's sentence.
type Kind string

// The kinds. An error that wraps none of them is Internal.
const (
	Invalid      Kind = "invalid"               // the request itself is wrong
	NotFound     Kind = "not found"             // it names something that is not there
	Exists       Kind = "already exists"        // it makes something that is there
	Unauthorized Kind = "not logged in"         // nobody knows who asks
	Forbidden    Kind = "not allowed"           // who asks may not
	Precondition Kind = "not possible now"      // the system's state or the machine forbids it
	Exhausted    Kind = "out of resources"      // disk, addresses, quota
	Unavailable  Kind = "unavailable"           // the other side is away: try again
	Timeout      Kind = "timed out"             // it took longer than allowed
	Canceled     Kind = "canceled"              // the caller gave up
	Corrupt      Kind = "corrupt"               // data is not what it claims to be
	Unsupported  Kind = "not supported"         // this build, kernel or machine cannot
	Internal     Kind = "an unexpected failure" // a bug, or a failure with no better name
)

// Error makes a Kind an error.
func (k Kind) Error() string { return string(k) }

// Of returns the kind of err: the first Kind that it wraps, or the kind of a
// standard library error that says as much. Of(nil) is empty.
func Of(err error) Kind {
	if err == nil {
		return ""
	}
	var k Kind
	switch {
	case errors.As(err, &k):
		return k
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, fs.ErrNotExist):
		return NotFound
	case errors.Is(err, fs.ErrExist):
		return Exists
	case errors.Is(err, fs.ErrPermission):
		return Forbidden
	}
	return Internal
}

// HTTP returns the status with which an HTTP API answers for k. The numbers are
// written out: the smallest programs use this package too, and net/http would be
// a third of them.
func (k Kind) HTTP() int {
	switch k {
	case "":
		return 200
	case Invalid:
		return 400
	case NotFound:
		return 404
	case Exists:
		return 409
	case Unauthorized:
		return 401
	case Forbidden:
		return 403
	case Precondition:
		return 412
	case Exhausted:
		return 507
	case Unavailable:
		return 503
	case Timeout:
		return 504
	case Canceled:
		return 499 // nginx's "client closed request"
	case Unsupported:
		return 501
	}
	return 500
}
