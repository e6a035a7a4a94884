package http1

import (
	"strings"
	"unsafe"
)

// Where a byte may stand. inPath is what a path may have that means the same
// encoded and decoded: no percent sign, and nothing that net/url would encode.
const (
	inToken = 1 << iota
	inValue
	inPath
	inQuery
	inHost
)

func is(c byte, where uint8) bool { return places[c]&where != 0 }

// places is a table, since each byte of each head is looked up in it.
var places = func() (t [256]uint8) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for c := range 256 {
		s := string(rune(c))
		if c < 0x80 && strings.Contains(letters+"!#$%&'*+-.^_`|~", s) {
			t[c] |= inToken
		}
		if c >= 0x20 && c != 0x7f || c == '\t' {
			t[c] |= inValue
		}
		if c < 0x80 && strings.Contains(letters+"-._~!$&'()*+,;=:@/", s) {
			t[c] |= inPath
		}
		if c > 0x20 && c < 0x7f && c != '#' {
			t[c] |= inQuery
		}
		if c < 0x80 && strings.Contains(letters+"-._:[]", s) {
			t[c] |= inHost
		}
	}
	return t
}()

// all tells whether each byte of s may stand there.
func all(s string, where uint8) bool {
	for i := range len(s) {
		if !is(s[i], where) {
			return false
		}
	}
	return true
}

// view is b as a string that lasts as long as b is not written to.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
