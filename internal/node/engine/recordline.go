package engine

import (
	"bytes"
	"encoding/json"
	"slices"
)

// The kinds of lines.
const (
	podLine       = "pod"
	containerLine = "container"
	specLine      = "spec"
	goneLine      = "gone"
)

// line is one line as it is written.
type line struct {
	kind  string
	id    string // of a container
	value any
}

func (l line) head() string {
	if l.id == "" {
		return l.kind + " "
	}
	return l.kind + " " + l.id + " "
}

// textOf is lines as they are written. The line end before each closes one that
// was cut short.
func textOf(lines ...line) ([]byte, error) {
	var text bytes.Buffer
	values := json.NewEncoder(&text)
	for _, l := range lines {
		text.WriteString("\n" + l.head())
		if l.value == nil {
			text.WriteByte('\n')
		} else if err := values.Encode(l.value); err != nil { // it ends the line
			return nil, err
		}
	}
	return text.Bytes(), nil
}

// lastOf decodes the last whole line that begins as l does into l.value. It
// returns false when there is none.
func lastOf(text []byte, l line) bool {
	head := []byte(l.head())
	for len(text) > 0 {
		i := bytes.LastIndexByte(text, '\n')
		value, ok := bytes.CutPrefix(text[i+1:], head)
		if ok && json.Unmarshal(value, l.value) == nil {
			return true
		}
		text = text[:max(i, 0)]
	}
	return false
}

// living lists the containers in a pod's file, in the order in which they came.
// What is said of one after it was gone, by whoever had not heard of that, does
// not bring it back.
func living(text []byte) []string {
	var ids []string
	gone := map[string]bool{} // of those in ids, and others
	for at := range bytes.Lines(text) {
		words := bytes.SplitN(at, []byte(" "), 3)
		if len(words) < 3 {
			continue
		}
		id := string(words[1])
		switch _, known := gone[id]; string(words[0]) {
		case goneLine:
			gone[id] = true
		case containerLine:
			if !known {
				gone[id] = false
				ids = append(ids, id)
			}
		}
	}
	return slices.DeleteFunc(ids, func(id string) bool { return gone[id] })
}
