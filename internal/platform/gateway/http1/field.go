// Package http1 reads heads of HTTP/1.1 messages that leave no doubt.
//
// It knows the small part of the protocol that nearly all messages are written
// in, and refuses the rest: whoever calls it then asks net/http, which judges
// the same bytes. So a message is either read here by rules that allow one
// meaning only, or there. Refused are, among others, whatever requests have been
// smuggled by: more than one length, a length beside an encoding, lines that go
// on in the next, line ends without a carriage return, spaces before a colon,
// and control characters.
//
// What is returned points into the text that was given.
package http1

import (
	"bytes"
	"strings"
)

// MaxFields is how many fields a head may have.
const MaxFields = 64

// A Field is one line of a head.
type Field struct {
	Name, Value string
	Line        string // all of it, with its end
	known       known
}

// Is tells whether the field has that name, which is in lower case.
func (f *Field) Is(name string) bool { return len(f.Name) == len(name) && equalFold(f.Name, name) }

// HopByHop tells whether the field is about the connection and not the message.
// Others of its kind are refused with the whole message.
func (f *Field) HopByHop() bool { return f.known == connection || f.known == keepAlive }

// End is where the head that b begins with ends, or -1 when it goes on.
func End(b []byte) int {
	// As a string, since that search is a single instruction at a time.
	i := strings.Index(view(b), "\r\n\r\n")
	if i < 0 {
		return -1
	}
	return i + 4
}

// Doubtful tells whether b, in which no head ends, cannot become one that is read
// here: it does not begin with a letter, or one of its lines has a bare end.
func Doubtful(b []byte) bool {
	if len(b) > 0 && (b[0] < 'A' || b[0] > 'Z') {
		return true
	}
	for at := 0; ; at++ {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return false
		}
		if at += i; at == 0 || b[at-1] != '\r' {
			return true
		}
	}
}

// known are the names that mean something to a proxy.
type known uint8

const (
	none known = iota
	host
	connection
	keepAlive
	contentLength
	transferEncoding
	date
	about // the client or the way to here, as others before us have said it
	doubtful
)

// kindOf finds out what a name means. Only names of a handful of lengths mean
// anything, so nearly all are done after one look.
func kindOf(name string) known {
	switch len(name) {
	case 2:
		return either(name, "te", doubtful)
	case 4:
		if k := either(name, "host", host); k != none {
			return k
		}
		return either(name, "date", date)
	case 6:
		return either(name, "expect", doubtful)
	case 7:
		if k := either(name, "upgrade", doubtful); k != none {
			return k
		}
		return either(name, "trailer", doubtful)
	case 9:
		if k := either(name, "x-real-ip", about); k != none {
			return k
		}
		return either(name, "forwarded", about)
	case 10:
		if k := either(name, "connection", connection); k != none {
			return k
		}
		return either(name, "keep-alive", keepAlive)
	case 14:
		return either(name, "content-length", contentLength)
	case 15:
		return either(name, "x-forwarded-for", about)
	case 16:
		if k := either(name, "x-forwarded-host", about); k != none {
			return k
		}
		if k := either(name, "x-forwarded-port", about); k != none {
			return k
		}
		return either(name, "proxy-connection", doubtful)
	case 17:
		if k := either(name, "x-forwarded-proto", about); k != none {
			return k
		}
		return either(name, "transfer-encoding", transferEncoding)
	case 18:
		return either(name, "proxy-authenticate", doubtful)
	case 19:
		return either(name, "proxy-authorization", doubtful)
	}
	return none
}

func either(name, lower string, k known) known {
	if equalFold(name, lower) {
		return k
	}
	return none
}

// equalFold compares name with one of the same length in lower case.
func equalFold(name, lower string) bool {
	for i := range len(lower) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// fields reads the lines of a head up to the empty one, which must be its end.
// It returns how many there are, and false when one is not beyond doubt.
func fields(text string, into *[MaxFields]Field) (int, bool) {
	n := 0
	for text != "\r\n" {
		if n == MaxFields {
			return 0, false
		}
		colon := 0
		for colon < len(text) && is(text[colon], inToken) {
			colon++
		}
		if colon == 0 || colon == len(text) || text[colon] != ':' {
			return 0, false
		}
		end := colon + 1
		for end < len(text) && is(text[end], inValue) {
			end++
		}
		if end+1 >= len(text) || text[end] != '\r' || text[end+1] != '\n' {
			return 0, false
		}
		f := &into[n]
		f.Name, f.Value, f.Line = text[:colon], trim(text[colon+1:end]), text[:end+2]
		f.known = kindOf(f.Name)
		n++
		text = text[end+2:]
	}
	return n, true
}

func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// length reads a Content-Length: digits and nothing else, few enough for an
// int64.
func length(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}

// closes reads a Connection field, which may say one of two things.
func closes(value string) (shut, ok bool) {
	switch {
	case len(value) == 5 && equalFold(value, "close"):
		return true, true
	case len(value) == 10 && equalFold(value, "keep-alive"):
		return false, true
	}
	return false, false
}
