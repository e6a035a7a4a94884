package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
)

// bodyKey begins a message's body. It is nowhere else in a message's head, in
// whose strings a quotation mark would be escaped.
var bodyKey = []byte(`"body":`)

// frame is the message as it is sent: its length, and the same JSON that package
// json would make of it. The body has been encoded already; to look at it once
// more would cost as much as that did.
func (m Message) frame() ([]byte, error) {
	body := m.Body
	m.Body = nil
	head, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	frame := make([]byte, 4, 4+len(head)+len(bodyKey)+len(body)+1)
	frame = append(frame, head...)
	if len(body) > 0 {
		frame = frame[:len(frame)-1] // the head's last brace
		if len(head) > len("{}") {
			frame = append(frame, ',')
		}
		frame = append(append(append(frame, bodyKey...), body...), '}')
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame, nil
}

// parse is the inverse, without looking at the body: who decodes that will.
func parse(data []byte) (m Message, err error) {
	at := bytes.Index(data, bodyKey)
	if at < 0 || !bytes.HasSuffix(data, []byte("}")) {
		return m, json.Unmarshal(data, &m)
	}
	head := append(bytes.TrimSuffix(bytes.Clone(data[:at]), []byte(",")), '}')
	if err := json.Unmarshal(head, &m); err != nil {
		return m, err
	}
	m.Body = data[at+len(bodyKey) : len(data)-1]
	return m, nil
}
