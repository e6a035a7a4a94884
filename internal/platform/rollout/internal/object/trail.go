package object

import "encoding/json"

// Trail is how often an object was changed, and by whom of late, the last one
// last. The server writes it at every change; who reads it later knows of all
// that happened since he last looked.
type Trail struct {
	Count int64    `json:"count"`
	By    []string `json:"by"`
}

// longest is how many changes a trail remembers.
const longest = 16

// ReadTrail reads what Add has written. Anything else begins anew.
func ReadTrail(text string) Trail {
	var t Trail
	if json.Unmarshal([]byte(text), &t) != nil {
		return Trail{}
	}
	return t
}

// Add is the trail after one more change, as text.
func (t Trail) Add(by string) string {
	t.Count++
	t.By = append(t.By, by)
	t.By = t.By[max(0, len(t.By)-longest):]
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings
	}
	return string(text)
}

// Since are those who have made the changes after the first COUNT.
func (t Trail) Since(count int64) []string {
	n := min(max(t.Count-count, 0), int64(len(t.By)))
	return t.By[int64(len(t.By))-n:]
}
