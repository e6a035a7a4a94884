package wire

import (
	"encoding/json"
	"reflect"
	"testing"
)

// Keepers outlive daemons, so what is sent is what it always was.
func TestAFrameIsTheMessagesJSON(t *testing.T) {
	for name, m := range map[string]Message{
		"nothing":                        {},
		"a call":                         {ID: 7, Call: CallHello, Body: json.RawMessage(`{"version":1}`)},
		"an answer":                      {ID: 7, Body: json.RawMessage(`null`)},
		"an answer without a body":       {ID: 7},
		"an event":                       {Call: EventExit, Body: json.RawMessage(`{"id":"a","reason":"\"body\":{}"}`)},
		"only a body":                    {Body: json.RawMessage(`[1,{"body":2}]`)},
		"a failure":                      {ID: 7, Err: &Error{Kind: NotFound, Text: `no "body": here`, Path: `/"body":`}},
		"a call whose name needs quotes": {Call: `"body":`, Body: json.RawMessage(`1`)},
	} {
		frame, err := m.frame()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(frame[4:]); got != string(want) {
			t.Errorf("%s: frame %s, want %s", name, got, want)
		}
		if got, err := parse(want); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: parse(%s) = %+v, %v; want %+v", name, want, got, err, m)
		}
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	for _, text := range []string{"", "{", `"body":`, `{"id":"x"}`, `{"id":"x","body":1}`, `{"id":1,"body":`, `x,"body":1}`} {
		if m, err := parse([]byte(text)); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", text, m)
		}
	}
}
