package snapshot

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// maxName is how long the name of a prepared filesystem may be, as it is on disk
// (NAME_MAX is 255, and two numbers stand before it).
const maxName = 200

// letters stand for the kinds in the names of prepared filesystems.
var letters = map[kind]string{writable: "w", view: "v"}

// dir is the entry's directory in snapshots/.
func (e *entry) dir() string {
	if e.Kind == layer {
		return num(e.n)
	}
	return fmt.Sprintf("%d.%s.%d.%s", e.n, letters[e.Kind], e.on, escape(e.Key))
}

// parseMount reads the directory's name of a prepared filesystem.
func parseMount(name string) (*entry, bool) {
	part := strings.SplitN(name, ".", 4)
	if len(part) != 4 {
		return nil, false
	}
	n, err := strconv.ParseUint(part[0], 10, 64)
	if err != nil {
		return nil, false
	}
	e := made(n)
	if e.on, err = strconv.ParseUint(part[2], 10, 64); err != nil {
		return nil, false
	}
	for k, letter := range letters {
		if part[1] == letter {
			e.Kind = k
		}
	}
	if e.Key, err = unescape(part[3]); err != nil || e.Kind == "" {
		return nil, false
	}
	return e, true
}

// made is an entry that is there.
func made(n uint64) *entry {
	e := &entry{n: n, done: make(chan struct{})}
	close(e.done)
	return e
}

// escape writes a name with letters, digits, '-', '_' and '.' only: others end
// paths, or options of mount(2). They become '%' and two hex digits.
func escape(name string) string {
	plain := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

func unescape(name string) (string, error) {
	var b strings.Builder
	for rest := name; ; {
		before, after, found := strings.Cut(rest, "%")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		if len(after) < 2 {
			return "", hex.ErrLength
		}
		c, err := hex.DecodeString(after[:2])
		if err != nil {
			return "", err
		}
		b.Write(c)
		rest = after[2:]
	}
}
